/** Changes as shell commands: for `plan`, and for the log. */
import type { Change } from './change.js';
import { type OwnedTables, oneLine } from './nft.js';

/** The command that makes a change. */
export function upCommand(change: Change): string {
  if (change.kind === 'tun')
    return command('ip', ['tuntap', 'add', 'dev', change.name, 'mode', 'tun', 'vnet_hdr']);
  if (change.kind === 'sysctl') return setCommand(change.key, change.value);
  if (change.kind === 'nft') return nftCommand(change.up);
  return command('ip', change.up);
}

/** The command that undoes a change; undefined if the change goes with the TUN. */
export function downCommand(change: Change): string | undefined {
  if (change.kind === 'tun') return command('ip', ['tuntap', 'del', 'dev', change.name, 'mode', 'tun']);
  if (change.kind === 'sysctl')
    return change.before === undefined ? undefined : setCommand(change.key, change.before);
  if (change.kind === 'nft') return nftCommand(change.down);
  return change.down === undefined ? undefined : command('ip', change.down);
}

/** The command that sets a sysctl. */
export function setCommand(key: string, value: string): string {
  return command('sysctl', ['-q', '-w', `${key}=${value}`]);
}

/** The command that runs a script for nft. */
export function nftCommand(script: string): string {
  return `nft -f - <<'END'\n${script}\nEND`;
}

/** The command that makes tables which go when that nft ends. `run` keeps it running. */
export function ownedCommand({ tables }: OwnedTables): string {
  return `nft -i <<'END'\n${tables.map(({ text }) => oneLine(text)).join('\n')}\nEND`;
}

/** A command for a shell. Its arguments are quoted: an interface may be called anything. */
export function command(program: string, args: readonly string[]): string {
  const quoted = args.map(arg => (/^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", "'\\''")}'`));
  return [program, ...quoted].join(' ');
}

/** All changes, with their reasons. */
export function upScript(changes: readonly Change[]): string {
  return [
    '# What `uoa-shim run` changes on this host, in this order.',
    'set -e',
    ...changes.flatMap(change => [...remarks(change), upCommand(change)]),
    '',
  ].join('\n');
}

function remarks(change: Change): string[] {
  const reason = `# ${change.reason}`;
  if (change.kind !== 'nft' || change.owned === undefined) return [reason];
  return [
    reason,
    '# (`run` makes it with `flags owner`, so that it goes with the process; made by a command it would go at once)',
  ];
}

/** What undoes all changes, the last one first. */
export function downScript(changes: readonly Change[]): string {
  const commands = changes.map(downCommand).filter(command => command !== undefined);
  return ['# What takes it all back.', 'set +e', ...commands.reverse(), ''].join('\n');
}
