/** How V8 compiles what handles packets. */
import { setFlagsFromString } from 'node:v8';

/**
 * Bytes of bytecode that may be inlined into one function: a packet's whole way through its role. With more, nothing gets
 * faster, and the compiler works for seconds (measured).
 */
const INLINED_BYTES = 7000;
/** Beyond that the smallest functions, getters above all, are inlined up to here. */
const INLINED_BYTES_ABSOLUTE = 9500;

/**
 * To be called before the first packet. A packet's way leads through many small functions, more than V8 inlines by default.
 * With these limits a packet takes a fifth less of JavaScript's time (measured).
 */
export function inlineMore(): void {
  setFlagsFromString(`--max-inlined-bytecode-size-cumulative=${INLINED_BYTES}`);
  setFlagsFromString(`--max-inlined-bytecode-size-absolute=${INLINED_BYTES_ABSOLUTE}`);
}
