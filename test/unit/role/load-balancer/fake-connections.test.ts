/** The conntrack of the load balancer's tests does what the real one does. */
import { describe } from 'vitest';
import { connectionsContract } from '../../support/connections-contract.js';
import { FakeConnections } from '../../support/load-balancer.js';

describe('FakeConnections', () => {
  connectionsContract(() => {
    const fake = new FakeConnections(4);
    return {
      connections: fake,
      track: (lip, server, client) => fake.track(lip, server, client),
      forget: fake.forget.bind(fake),
      released: () => [...fake.releases],
    };
  });
});
