/**
 * Numbers of different kinds, so that swapped arguments don't compile. Types only: nothing of it is left at run time.
 *
 * A plain number (a literal, a sum, what a DataView gives) fits each of them; one of a kind fits no other kind. So a
 * function's parameters, a class's fields and constants say their kind, and nothing has to be cast.
 */

type Unit<Kind extends string> = number & { readonly unit?: Kind | undefined };

/** An index into an Int32Array; of an address or a tuple, that of its first word. */
export type WordIndex = Unit<'word index'>;

/** An offset in bytes from the beginning of a buffer; of the constants of a header's fields, from the header's. */
export type ByteOffset = Unit<'byte offset'>;

/** A UDP port in host order. */
export type Port = Unit<'port'>;

/** The number of a flow's record in the flow table, or NONE. */
export type FlowId = Unit<'flow'>;

/** A moment: monotonic milliseconds, low 32 bits. The difference of two, `>>> 0`, is a time in milliseconds. */
export type Ticks = Unit<'ticks'>;

/** No such flow, index or offset: what looks for one gives this where there is none. */
export const NONE = -1;

/** In place of an offset: what was looked for may be there, but lengths before it contradict each other. */
export const BROKEN = -2;
