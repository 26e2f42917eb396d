/** Reads a configuration file. JSON is read as YAML, of which it is a part, but without YAML's unquoted text. */
import { readFileSync } from 'node:fs';
import { type Document, LineCounter, parseDocument, type YAMLError } from 'yaml';
import { isMapping, type Mapping } from './collections.js';
import type { Fault } from './faults.js';

export interface Contents {
  /** null: the file is empty or could not be read. */
  document: Mapping | null;
  /** Whether the document may say more, or something else, than could be read of it. */
  broken: boolean;
  faults: Fault[];
}

export function readFile(file: string): Contents {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(file));
  } catch (error) {
    return { document: null, broken: true, faults: [fileFault(file, whyUnreadable(error))] };
  }
  return parse(file, text);
}

function parse(file: string, text: string): Contents {
  const lines = new LineCounter();
  const parsed = parseDocument(text, {
    schema: file.endsWith('.json') ? 'json' : 'core',
    lineCounter: lines,
    prettyErrors: false,
    logLevel: 'error',
  });
  const found = complaints(parsed);
  const faults = found.map(error => {
    const { line } = lines.linePos(error.pos[0]);
    return fileFault(file, `line ${line}: ${what(error, text)}`);
  });
  const broken = found.some(error => error.code !== 'DUPLICATE_KEY');
  try {
    const document: unknown = parsed.toJS();
    if (document === null || isMapping(document)) return { document, broken, faults };
    // A fault in the syntax is reported already, and may be the reason.
    if (!broken) faults.push(fileFault(file, 'not a mapping of keys to values'));
  } catch (error) {
    // An alias without its anchor, or too many aliases: this shows only when they are resolved.
    faults.push(fileFault(file, error instanceof Error ? error.message : String(error)));
  }
  return { document: null, broken: true, faults };
}

/** Every repeated key, but only the first fault in the syntax: the others mostly follow from it. */
function complaints(parsed: Document.Parsed): YAMLError[] {
  const all: YAMLError[] = [...parsed.errors, ...parsed.warnings];
  const first = all.find(error => error.code !== 'DUPLICATE_KEY');
  return all.filter(error => error === first || error.code === 'DUPLICATE_KEY');
}

function what(error: YAMLError, text: string): string {
  if (error.code === 'MULTIPLE_DOCS') return 'a second document begins here; only one is read';
  if (error.code !== 'DUPLICATE_KEY') return error.message.replaceAll(/\s+/g, ' ');
  const [name] = /[\w-]+/.exec(text.slice(error.pos[0])) ?? [''];
  return `${name} is there twice`;
}

function fileFault(file: string, problem: string): Fault {
  return { key: file, value: null, allowed: '', problem };
}

function whyUnreadable(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  if (code === 'ENOENT') return 'there is no such file; --config FILE names another';
  if (code === 'EACCES') return 'this user may not read it; --config FILE names another';
  if (code === 'EISDIR') return 'this is a directory; --config FILE names another';
  if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') return 'not UTF-8 text';
  return `it cannot be read (${error instanceof Error ? error.message : String(error)})`;
}
