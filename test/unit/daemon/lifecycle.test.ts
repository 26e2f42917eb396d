import { describe, expect, it } from 'vitest';
import { Lifecycle } from '../../../src/daemon/lifecycle.js';

function makeLife() {
  const warnings: string[] = [];
  const log = { info: () => {}, warn: (message: string) => void warnings.push(message) };
  return { life: new Lifecycle(), warnings, log };
}

describe('the lifecycle', () => {
  it('is starting, then running, then stopping', async () => {
    const { life, log } = makeLife();
    expect(life.state).toBe('starting');
    life.started();
    expect(life.state).toBe('running');
    const stopped = life.stop(log);
    expect(life.state).toBe('stopping');
    await stopped;
    expect(life.state).toBe('stopping');
  });

  it('takes down in the reverse order, one after the other', async () => {
    const { life, log } = makeLife();
    const order: string[] = [];
    life.onStop(() => void order.push('first'));
    life.onStop(async () => {
      order.push('second begins');
      await new Promise(resolve => setImmediate(resolve));
      order.push('second ends');
    });
    life.onStop(() => void order.push('third'));
    await life.stop(log);
    expect(order).toEqual(['third', 'second begins', 'second ends', 'first']);
  });

  it('takes each step down once, however often it is stopped', async () => {
    const { life, log } = makeLife();
    let times = 0;
    life.onStop(() => void times++);
    await life.stop(log);
    await life.stop(log);
    expect(times).toBe(1);
  });

  it('logs a teardown that fails, and goes on with the others', async () => {
    const { life, log, warnings } = makeLife();
    let isDown = false;
    life.onStop(() => {
      isDown = true;
    });
    life.onStop(() => Promise.reject(new Error('the table is busy')));
    await life.stop(log);
    expect(warnings).toEqual(['stop: the table is busy']);
    expect(isDown).toBe(true);
  });
});
