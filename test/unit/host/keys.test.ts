import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ipKey, tablesIn } from '../../../src/host/keys.js';

const key = (text: string): string => ipKey(text.split(' '));

describe('the key of a rule', () => {
  it('shows everything that the kernel tells rules apart by', () => {
    expect(key('-4 rule del pref 110 iif lo ipproto 17 sport 53 lookup 249 protocol kernel')).toBe(
      'ip -4 rule iif lo ipproto 17 lookup 249 pref 110 sport 53 protocol kernel',
    );
    expect(key('-6 rule del pref 101 iif eth0 blackhole protocol kernel')).toBe(
      'ip -6 rule blackhole iif eth0 pref 101 protocol kernel',
    );
  });

  it('is the same in whatever order the arguments are', () => {
    const parts = ['pref 21', 'from 10.1.0.0/16', 'to 10.1.0.2', 'iif eth0', 'ipproto 17', 'lookup 248'];
    const inOrder = key(`-4 rule del ${parts.join(' ')}`);
    const order = fc.shuffledSubarray(parts, { minLength: parts.length });
    fc.assert(
      fc.property(order, shuffled => {
        expect(key(`-4 rule del ${shuffled.join(' ')}`)).toBe(inOrder);
        expect(key(`-4 rule del blackhole ${shuffled.join(' ')}`)).toBe(
          key(`-4 rule del ${shuffled.join(' ')} blackhole`),
        );
      }),
    );
  });

  it.each([
    ['priority 110 dev lo table 255', 'pref 110 iif lo lookup local'],
    ['pref 5 from all lookup main', 'pref 5 table 254'],
    ['pref 5 from 10.0.0.1/32 to 10.0.0.2', 'pref 5 from 10.0.0.1 to 10.0.0.2/32'],
    ['pref 5 from fd00::1/128', 'pref 5 from fd00::1'],
    ['pref 5 ipproto udp sport 53-53', 'pref 5 ipproto 17 sport 53'],
  ])('takes "%s" and "%s" for the same', (one, other) => {
    expect(key(`-4 rule del ${one}`)).toBe(key(`-4 rule del ${other}`));
  });

  it.each([
    ['pref 110 iif lo lookup 249', 'pref 111 iif lo lookup 249'],
    ['pref 110 iif lo lookup 249', 'pref 110 iif lo lookup 248'],
    ['pref 110 iif lo lookup 249', 'pref 110 iif lo lookup 249 protocol kernel'],
    ['pref 5 from 10.0.0.1', 'pref 5 to 10.0.0.1'],
    ['pref 5 from 10.0.0.0/32', 'pref 5 from 10.0.0.0/24'],
    ['pref 5 sport 53', 'pref 5 sport 53-54'],
    ['pref 5 iif eth0 blackhole', 'pref 5 iif eth0 lookup main'],
  ])('tells "%s" from "%s"', (one, other) => {
    expect(key(`-4 rule del ${one}`)).not.toBe(key(`-4 rule del ${other}`));
  });

  it('is not that of its absence, nor of the other family’s', () => {
    const rule = 'pref 0 lookup local protocol kernel';
    expect(key(`-4 rule add ${rule}`)).toBe(`no ${key(`-4 rule del ${rule}`)}`);
    expect(key(`-6 rule del ${rule}`)).not.toBe(key(`-4 rule del ${rule}`));
  });

  it('begins with that of an undo that names no protocol', () => {
    const [bare, ours] = ['', ' protocol kernel'].map(more => key(`-4 rule del pref 110 iif lo${more}`));
    expect(ours.startsWith(`${bare} `)).toBe(true);
  });
});

describe('the key of a route', () => {
  it('is its destination, table and metric, whatever the rest', () => {
    const bare = key('-4 route del default table 249');
    expect(bare).toBe('ip -4 route default table 249');
    expect(key('-4 route del default dev uoa0 table 249 src 10.0.0.1 mtu 1500')).toBe(bare);
    expect(key('-4 route del default dev uoa0 table 249 metric 5')).not.toBe(bare);
    expect(key('-4 route del default dev uoa0 table 248')).not.toBe(bare);
    expect(key('-4 route del 10.0.0.0/8 dev uoa0 table 249')).not.toBe(bare);
    expect(key('-6 route del default dev uoa0 table 249')).not.toBe(bare);
  });
});

describe('the tables in a script', () => {
  it('are those that it deletes', () => {
    const script =
      'table ip uoa_uoa0\ndelete table ip uoa_uoa0\ntable netdev uoa_a-b\ndelete table netdev uoa_a-b';
    expect(tablesIn(script)).toEqual(['table ip uoa_uoa0', 'table netdev uoa_a-b']);
    expect(tablesIn('')).toEqual([]);
  });
});
