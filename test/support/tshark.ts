/** Somebody else's opinion of packets: tshark's. */
import { spawnSync } from 'node:child_process';
import type { Namespace } from './netns.js';
import { eventually, Program, run } from './process.js';

/** Whether there is what captures and reads packets; says so if not. */
export function canDissect(): boolean {
  const isMissing = ['tcpdump', 'tshark'].some(
    tool => spawnSync('sh', ['-c', `command -v ${tool}`]).status !== 0,
  );
  if (isMissing) console.warn('\n*** SKIPPED: what tshark says; apt-get install tcpdump tshark ***\n');
  return !isMissing;
}

/** Captures what tcpdump's `filter` likes on eth0, to `file`, from when this returns until it is ended. */
export async function capture(namespace: Namespace, file: string, ...filter: string[]): Promise<Program> {
  const tcpdump = ['tcpdump', '-i', 'eth0', '-p', '-U', '--immediate-mode', '-Z', 'root', '-w', file];
  const program = namespace.start(new Program(namespace.command([...tcpdump, ...filter])));
  await eventually('tcpdump listens', () => program.log.includes('listening on') || undefined);
  return program;
}

export interface Dissected {
  source: string | undefined;
  /** IPv4's protocol, or IPv6's first next header. */
  protocol: number;
  /** IPv4: the options; IPv6: the data of an option among destination options that it does not know. In hex. */
  options: string | undefined;
  /** What it takes for payload. */
  data: string | undefined;
  malformed: boolean;
  /** '1' is a good checksum. */
  headerStatus: string | undefined;
  udpStatus: string | undefined;
}

/** Each packet in a capture that `filter` likes. */
export async function dissect(file: string, filter: string): Promise<Dissected[]> {
  const checks = ['-o', 'ip.check_checksum:TRUE', '-o', 'udp.check_checksum:TRUE'];
  const { stdout } = await run(['tshark', '-r', file, '-T', 'pdml', ...checks, '-Y', filter]);
  return stdout
    .split('<packet>')
    .slice(1)
    .map(packet => {
      const show = (name: string) => new RegExp(`name="${name}"[^>]* show="([^"]*)"`).exec(packet)?.[1];
      const options = /show="Options: [^>]* value="([^"]*)"/.exec(packet);
      const unknown = /name="ipv6.opt.unknown"[^>]* value="([^"]*)"/.exec(packet);
      return {
        source: show('ip.src') ?? show('ipv6.src'),
        protocol: Number(show('ip.proto') ?? show('ipv6.nxt')),
        options: (options ?? unknown)?.[1],
        data: /name="data.data"[^>]* value="([^"]*)"/.exec(packet)?.[1],
        malformed: packet.includes('_ws.malformed'),
        headerStatus: show('ip.checksum.status'),
        udpStatus: show('udp.checksum.status'),
      };
    });
}
