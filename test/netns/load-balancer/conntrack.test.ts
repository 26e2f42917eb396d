/** The kernel's conntrack does what the load balancer expects of it, and what the one of its unit tests does. */
import { afterAll, beforeAll, describe, it } from 'vitest';
import { passesInside } from '../../support/inside.js';
import { missing, Namespace } from '../../support/netns.js';

describe.skipIf(missing({ conntrack: 'conntrack' }))('the kernel’s conntrack', () => {
  let namespace: Namespace;

  beforeAll(async () => {
    namespace = await Namespace.create('ct');
  });

  afterAll(() => namespace.delete());

  it('passes the tests that the one of unit tests passes', () => passesInside(namespace, 'conntrack'));
});
