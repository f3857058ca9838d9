// UUIDs, as the contract has them: two numbers of 64 bits.
const TEXT = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;

export class Uuid {
    constructor(high, low) {
        this.high = BigInt.asUintN(64, high);
        this.low = BigInt.asUintN(64, low);
        Object.freeze(this);
    }

    static parse(text) {
        if (!TEXT.test(text)) throw new TypeError(`${JSON.stringify(text)} is not a UUID`);
        const digits = text.replaceAll('-', '');
        return new Uuid(BigInt(`0x${digits.slice(0, 16)}`), BigInt(`0x${digits.slice(16)}`));
    }

    static fromBytes(bytes, offset = 0) {
        if (bytes.length < offset + 16) throw new RangeError(`a UUID has 16 bytes, not ${bytes.length - offset}`);
        const view = new DataView(bytes.buffer, bytes.byteOffset + offset, 16);
        return new Uuid(view.getBigUint64(0), view.getBigUint64(8));
    }

    toBytes() {
        const bytes = new Uint8Array(16);
        const view = new DataView(bytes.buffer);
        view.setBigUint64(0, this.high);
        view.setBigUint64(8, this.low);
        return bytes;
    }

    compare(other) {
        if (this.high !== other.high) return this.high < other.high ? -1 : 1;
        return this.low === other.low ? 0 : this.low < other.low ? -1 : 1;
    }

    equals(other) {
        return this.high === other.high && this.low === other.low;
    }

    toString() {
        const digits = [this.high, this.low].map((half) => half.toString(16).padStart(16, '0')).join('');
        return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
    }

    toJSON() {
        return this.toString();
    }
}
