/** nftables rules as text: tables, chains, and the transactions that put them in place. */

export interface Table {
  /** Such as `table ip uoa_uoa0`. */
  id: string;
  text: string;
}

/** The table of a TUN. `purpose` tells it from others of this family. */
export function tableFor(tun: string, family: string, chains: readonly string[], purpose?: string): Table {
  // An interface may be called anything, a table may not.
  const name = ['uoa', tun.replaceAll(/[^\w.-]/g, '_'), ...(purpose === undefined ? [] : [purpose])].join(
    '_',
  );
  const id = `table ${family} ${name}`;
  return { id, text: `${id} {\n${chains.join('\n')}\n}` };
}

/** `hook`: what attaches the chain, such as `type filter hook output priority raw`. */
export function chain(name: string, hook: string, rules: readonly string[]): string {
  const lines = [`${hook}; policy accept;`, ...rules].map(line => `\t\t${line}`);
  return `\tchain ${name} {\n${lines.join('\n')}\n\t}`;
}

/** What a change to tables says to nft. */
export interface NftScripts {
  key: string;
  /** The tables' ids. */
  tables: readonly string[];
  /** One transaction that puts the tables in the place of whatever was there under their names. */
  up: string;
  /** One transaction that takes them away. */
  down: string;
}

/** The scripts for these tables, of which there is at least one. */
export function scripts(tables: readonly Table[]): NftScripts {
  const away = tables.flatMap(({ id }) => [id, `delete ${id}`]);
  return {
    key: tables[0].id,
    tables: tables.map(({ id }) => id),
    up: [...away, ...tables.map(({ text }) => text)].join('\n'),
    down: away.join('\n'),
  };
}

/** The same in one transaction: the tables of `first`, then those of `then`, taken away in reverse. */
export function together(first: NftScripts, then: NftScripts): NftScripts {
  return {
    key: first.key,
    tables: [...first.tables, ...then.tables],
    up: `${first.up}\n${then.up}`,
    down: `${then.down}\n${first.down}`,
  };
}

/** Tables that are to go with the process that makes them. */
export interface OwnedTables {
  /** The first one's id, which stands for all of them. */
  id: string;
  tables: readonly Table[];
}

/** The same tables twice: as scripts that make and unmake ordinary ones, and as owned ones. */
export function scriptsOrOwned(tables: readonly Table[]): NftScripts & { owned: OwnedTables } {
  const flagged = tables.map(({ id, text }) => ({ id, text: text.replace('{\n', '{\n\tflags owner\n') }));
  return { ...scripts(tables), owned: { id: tables[0].id, tables: flagged } };
}

/** A script on one line, for an nft that reads line by line. */
export function oneLine(script: string): string {
  return script
    .split('\n')
    .map(line => line.trim())
    .join(' ; ');
}

export function quote(text: string): string {
  return `"${text}"`;
}

/** A set without a name. */
export function set(items: readonly string[]): string {
  return `{ ${items.join(', ')} }`;
}

export function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
