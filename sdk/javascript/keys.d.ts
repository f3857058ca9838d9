import type { Uuid } from './uuid.js';

/** A piece of a key. A bigint is a signed number of 64 bits. */
export type KeyPart = string | bigint | Uuid | Uint8Array;
/**
 * A key of these parts. Its bytes sort like the parts: a bigint is 8 bytes, big-endian, with the sign bit flipped, a UUID its 16 bytes,
 * a text its UTF-8. Put texts last, since nothing marks their end.
 */
export function key(...parts: KeyPart[]): Uint8Array;
/** The bigint whose 8 bytes are at `offset` of a key. */
export function readTime(bytes: Uint8Array, offset?: number): bigint;
/** Whether a key begins with `prefix`. */
export function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean;
