/** The device of the pipeline's and the roles' tests does what a TUN does. */
import { describe } from 'vitest';
import { deviceContract } from '../support/device-contract.js';
import { MemoryDevice } from '../support/memory-device.js';
import { toHex } from '../support/wire.js';

describe('MemoryDevice', () => {
  deviceContract(() => {
    const device = new MemoryDevice();
    return {
      device,
      put: ({ bytes, checksum, segment }) => device.put(bytes, checksum, segment),
      now: () => device.clock[0],
      refuse: () => {
        device.refusing = true;
      },
      delivered: () => device.delivered.map(toHex),
      emitted: () => device.emitted.map(toHex),
    };
  });
});
