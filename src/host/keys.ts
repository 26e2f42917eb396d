/**
 * Keys: what a change or an undo is about, however it is worded. Two with the same key are about the same rule, route,
 * setting or table of the kernel, so one version of the shim recognises what another version has made.
 *
 *   net.ipv4.udp_early_demux                                            a setting
 *   table ip uoa_uoa0                                                   a table of nftables
 *   ip -4 route default table 249                                       a route
 *   ip -4 rule iif lo ipproto 17 lookup 249 pref 110 protocol kernel    a rule
 *   no ip -4 rule lookup local pref 0 protocol kernel                   the absence of a rule
 */

/**
 * The key of a rule or a route, by the arguments of the `ip` that takes it back, such as
 * `-4 rule del pref 110 iif lo lookup 249`.
 */
export function ipKey([family, object, verb, ...spec]: readonly string[]): string {
  const thing = `ip ${family} ${object} ${object === 'route' ? routeIdentity(spec) : ruleIdentity(spec)}`;
  return verb === 'add' ? `no ${thing}` : thing;
}

/** `ip route replace` puts a route in the place of the one with the same destination and metric in its table. */
function routeIdentity([destination, ...attributes]: readonly string[]): string {
  const identity = ['table', 'metric'].flatMap(name => {
    const at = attributes.indexOf(name);
    return at < 0 ? [] : attributes.slice(at, at + 2);
  });
  return [destination, ...identity].join(' ');
}

/** The kernel takes rules for the same if they agree in every attribute, the protocol included (rule_exists). */
function ruleIdentity(spec: readonly string[]): string {
  const parts: string[] = [];
  for (let i = 0; i < spec.length; i += 2) {
    if (ACTIONS.includes(spec[i])) parts.push(spec[i--]);
    else parts.push(...attribute(spec[i], spec[i + 1]));
  }
  // The protocol goes last. An undo without it deletes a rule of any protocol, so its key is the beginning of theirs.
  const last = parts.filter(part => part.startsWith('protocol '));
  return [...parts.filter(part => !last.includes(part)).sort(), ...last].join(' ');
}

const ACTIONS: readonly string[] = ['blackhole', 'prohibit', 'unreachable'];

/** The names of an attribute that `ip rule` takes, beside the one that it has in a key. */
const NAMES: Readonly<Record<string, string>> = {
  dev: 'iif',
  order: 'pref',
  preference: 'pref',
  priority: 'pref',
  proto: 'protocol',
  table: 'lookup',
};

/** The numbers and names that mean the same, by attribute. */
const VALUES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  ipproto: { icmp: '1', 'ipv6-icmp': '58', udp: '17' },
  lookup: { 253: 'default', 254: 'main', 255: 'local' },
  protocol: { 2: 'kernel', 3: 'boot', 4: 'static' },
};

function attribute(word: string, text: string): string[] {
  const name = NAMES[word] ?? word;
  if (name === 'from' || name === 'to') {
    const address = text.replace(text.includes(':') ? /\/128$/ : /\/32$/, '');
    return address === 'all' ? [] : [`${name} ${address}`];
  }
  const value = VALUES[name]?.[text] ?? text.replace(/^(\d+)-\1$/, '$1');
  return [`${name} ${value}`];
}

/** The ids of the tables, such as `table ip uoa_uoa0`, that a script for nft takes away. */
export function tablesIn(script: string): string[] {
  return script.split('\n').flatMap(line => /^delete (table \S+ \S+)$/.exec(line)?.[1] ?? []);
}
