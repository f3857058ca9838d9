// Keys whose bytes sort like what they are made of.
const encoder = new TextEncoder();

export function key(...parts) {
    const pieces = parts.map(bytesOfPart);
    const bytes = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
    let end = 0;
    for (const piece of pieces) {
        bytes.set(piece, end);
        end += piece.length;
    }
    return bytes;
}

/** A key or a value: a text stands for its UTF-8. */
export function bytesOf(value) {
    return typeof value === 'string' ? encoder.encode(value) : value;
}

export function readTime(bytes, offset = 0) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return BigInt.asIntN(64, view.getBigUint64(offset) ^ SIGN);
}

export function startsWith(bytes, prefix) {
    return bytes.length >= prefix.length && prefix.every((byte, index) => bytes[index] === byte);
}

/** The bit that, flipped, sorts negative numbers before the others. */
const SIGN = 1n << 63n;
const number = new DataView(new ArrayBuffer(8));

function bytesOfPart(part) {
    if (typeof part === 'string') return encoder.encode(part);
    if (typeof part === 'bigint') {
        if (BigInt.asIntN(64, part) !== part) throw new RangeError(`${part} does not fit into 64 bits`);
        number.setBigUint64(0, BigInt.asUintN(64, part) ^ SIGN);
        return new Uint8Array(number.buffer.slice(0));
    }
    if (typeof part?.toBytes === 'function') return part.toBytes();
    if (ArrayBuffer.isView(part)) return part;
    throw new TypeError(`a key is made of texts, bytes, bigints and UUIDs, not of ${typeof part}`);
}
