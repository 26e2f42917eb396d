/**
 * Where one candidate is measured: two network namespaces of its own.
 *
 *     LB: send, mark                                         RS: receive, and what is measured
 *     LIPs 10.98.0.0/16   eth0 10.97.0.1 --- veth --- eth0 10.97.0.2 RIP, port 7000
 *                                                     uoa0 the TUN
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { must } from './program.js';

export const LIPS = '10.98.0.0/16';
export const RIP = '10.97.0.2';
export const RPORT = 7000;
export const TUN = 'uoa0';

/** Of the names of all that a run makes; its process id follows. */
export const PREFIX = 'uoa-bench-';
const places = new Set<Place>();

export class Place {
  private readonly names: { lb: string; rs: string };
  private segments = true;

  private constructor(candidate: string) {
    const name = `${PREFIX}${process.pid}-${candidate}`;
    this.names = { lb: `${name}-lb`, rs: `${name}-rs` };
  }

  static make(candidate: string): Place {
    const place = new Place(candidate);
    places.add(place);
    place.wireUp();
    return place;
  }

  private wireUp(): void {
    const { lb, rs } = this.names;
    for (const name of [lb, rs]) must(['ip', 'netns', 'add', name]);
    this.ip('lb', `link add eth0 type veth peer name eth0 netns ${rs}`);
    this.ip('lb', 'address add 10.97.0.1/24 dev eth0');
    this.ip('rs', `address add ${RIP}/24 dev eth0`);
    for (const side of ['lb', 'rs'] as const)
      for (const device of ['lo', 'eth0']) this.ip(side, `link set ${device} up`);
    // Every address of these is this host's.
    this.ip('lb', `route add local ${LIPS} dev lo`);
    this.ip('rs', 'route add default via 10.97.0.1');
  }

  /** The command line that runs `command` on one side. */
  command(side: 'lb' | 'rs', command: readonly string[]): string[] {
    return ['ip', 'netns', 'exec', this.names[side], ...command];
  }

  ip(side: 'lb' | 'rs', args: string): string {
    return must(['ip', '-n', this.names[side], ...args.split(' ')]);
  }

  /** Whether super-packets of the sender's stay whole on their way, as on a NIC that cuts them (UDP segmentation offload). */
  setSegmentation(wanted: boolean): void {
    if (wanted === this.segments) return;
    must(this.command('lb', ['ethtool', '-K', 'eth0', 'tx-udp-segmentation', wanted ? 'on' : 'off']));
    this.segments = wanted;
  }

  /** Packets that found no room in the TUN so far. */
  tunDrops(): number {
    const [link] = JSON.parse(this.ip('rs', `-j -s link show ${TUN}`));
    return link.stats64.tx.dropped as number;
  }

  /** Safe to call twice. */
  remove(): void {
    if (!places.delete(this)) return;
    for (const name of Object.values(this.names)) spawnSync('ip', ['netns', 'del', name]);
  }
}

/** For exit handlers. */
export function removeAllPlaces(): void {
  for (const place of places) place.remove();
}

/** Takes away what runs of this program that were killed have left: namespaces and temporary directories. */
export function removeForsaken(): void {
  for (const { name } of JSON.parse(must(['ip', '-j', 'netns', 'list']) || '[]') as { name: string }[])
    if (isForsaken(name)) spawnSync('ip', ['netns', 'del', name]);
  for (const name of readdirSync(tmpdir()))
    if (isForsaken(name)) rmSync(join(tmpdir(), name), { recursive: true, force: true });
}

function isForsaken(name: string): boolean {
  const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
  return pid !== undefined && !existsSync(`/proc/${pid}`);
}
