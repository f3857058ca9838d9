// Batches of events, whose rows stay in the host.
import { EventBatch } from 'reflow:storage/batch';
import { StorageError } from './errors.js';
import { Uuid } from './uuid.js';

/** Records per call: a compromise between the number of calls and the memory. */
const FETCH = 1_000;

export class Events {
    /** Takes the batch of the host as it is, for the SDK. */
    constructor(batch) {
        this.batch = batch;
    }

    static ofBodies(bodies) {
        const batch = new EventBatch();
        checked(() => batch.push(joined(bodies)));
        return new Events(batch);
    }

    get length() {
        return this.batch.len();
    }

    column(field) {
        return this.columns(field)[0];
    }

    columns(...fields) {
        return checked(() => this.batch.columns(fields)).map(values);
    }

    present(field) {
        return checked(() => this.batch.present(field));
    }

    *rows(...fields) {
        const columns = this.columns(...fields);
        for (let row = 0; row < this.length; row += 1) {
            yield Object.fromEntries(fields.map((field, column) => [field, columns[column][row]]));
        }
    }

    *[Symbol.iterator]() {
        for (let offset = 0; ; offset += FETCH) {
            const records = this.batch.events(offset, FETCH);
            for (const record of records) yield { ...record, traceId: uuid(record.traceId), eventId: uuid(record.eventId) };
            if (records.length < FETCH) return;
        }
    }
}

const uuid = ({ high, low }) => new Uuid(high, low);

/** The failures of these functions are texts. */
function checked(run) {
    try {
        return run();
    } catch (thrown) {
        throw typeof thrown?.payload === 'string' ? new StorageError(thrown.payload, { cause: thrown }) : thrown;
    }
}

/** Byte strings, as the contract has many of them: concatenated, and the end of each. */
export function joined(parts) {
    const ends = new Uint32Array(parts.length);
    let end = 0;
    parts.forEach((part, index) => {
        end += part.length;
        ends[index] = end;
    });
    const data = new Uint8Array(end);
    parts.forEach((part, index) => data.set(part, ends[index] - part.length));
    return { data, ends };
}

/** The pieces of `blobs`. They share its memory. */
export function pieces({ data, ends }) {
    return Array.from(ends, (end, index) => data.subarray(index === 0 ? 0 : ends[index - 1], end));
}

/** The texts of `texts`, whose ends count bytes of UTF-8. */
export function split({ text, ends }) {
    const length = ends.length === 0 ? 0 : ends[ends.length - 1];
    if (text.length === length) {
        // All characters are ASCII.
        return Array.from(ends, (end, index) => text.slice(index === 0 ? 0 : ends[index - 1], end));
    }
    const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
    return pieces({ data: new TextEncoder().encode(text), ends }).map((piece) => decoder.decode(piece));
}

/** Texts, as the contract has many of them. */
export function joinedTexts(texts) {
    const encoder = new TextEncoder();
    const { data, ends } = joined(texts.map((text) => encoder.encode(text)));
    return { text: new TextDecoder('utf-8', { ignoreBOM: true }).decode(data), ends };
}

function values({ tag, val }) {
    switch (tag) {
        case 'uuids':
            return Array.from({ length: val.length / 2 }, (_, row) => new Uuid(val[2 * row], val[2 * row + 1]));
        case 'texts':
            return split(val);
        case 'blobs':
            return pieces(val);
        default:
            return val;
    }
}
