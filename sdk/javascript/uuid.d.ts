/** A UUID, as its two big-endian halves. */
export class Uuid {
    constructor(high: bigint, low: bigint);
    readonly high: bigint;
    readonly low: bigint;
    /** The UUID of a text, with or without hyphens. Throws a TypeError for any other text. */
    static parse(text: string): Uuid;
    /** The UUID of the 16 bytes from `offset` on. */
    static fromBytes(bytes: Uint8Array, offset?: number): Uuid;
    /** Its 16 bytes, which sort like the UUID. */
    toBytes(): Uint8Array;
    /** Negative, zero or positive, as for `Array.prototype.sort`. */
    compare(other: Uuid): number;
    equals(other: Uuid): boolean;
    /** The hyphenated form. */
    toString(): string;
    /** The hyphenated form. */
    toJSON(): string;
}
