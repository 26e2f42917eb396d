/** nftables rules as text: tables, chains, and the transactions that put them in place. */

/** `fwd` wants a neighbour; on a TUN, which has none, any address does. */
const ANY_NEIGHBOUR = '192.0.2.253';

/** The statement that takes a packet into the TUN, and passes by one that is gone. */
export function intoTun(tun: string): string {
  return `fwd ip to ${ANY_NEIGHBOUR} device ${quote(tun)}`;
}

export interface Table {
  id: string;
  text: string;
}

export function table(family: string, tableName: string, chains: readonly string[]): Table {
  const id = `table ${family} ${tableName}`;
  return { id, text: `${id} {\n${chains.join('\n')}\n}` };
}

export function chain(chainName: string, hook: string, rules: readonly string[]): string {
  const lines = [`${hook}; policy accept;`, ...rules].map(line => `\t\t${line}`);
  return `\tchain ${chainName} {\n${lines.join('\n')}\n\t}`;
}

/** One transaction that puts tables in the place of whatever was there under their names; and one to take them away. */
export function both(tables: readonly Table[]): { up: string; down: string } {
  const away = tables.flatMap(({ id }) => [id, `delete ${id}`]);
  return { up: [...away, ...tables.map(({ text }) => text)].join('\n'), down: away.join('\n') };
}

/** Part of a table's name: an interface may be called anything. */
export function name(interfaceName: string): string {
  return interfaceName.replaceAll(/[^\w.-]/g, '_');
}

export function quote(text: string): string {
  return `"${text}"`;
}

export function set(items: readonly string[]): string {
  return `{ ${items.join(', ')} }`;
}

export function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
