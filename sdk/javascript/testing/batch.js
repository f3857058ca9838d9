// Batches of events, whose rows are plain objects. A body is the JSON of its row, and so is its field `json`.
const COLUMNS = {
    'trace-id': ['uuids', 'traceId'],
    'event-id': ['uuids', 'eventId'],
    timestamp: ['integers', 'timestamp'],
    'event-type': ['texts', 'eventType'],
    'actor-id': ['texts', 'actorId'],
    error: ['texts', 'error'],
    body: ['blobs', 'body'],
    json: ['texts', 'body'],
};
const encoder = new TextEncoder();

export class EventBatch {
    rows = [];

    static of(rows) {
        const batch = new EventBatch();
        batch.rows = rows;
        return batch;
    }

    len() {
        return this.rows.length;
    }

    columns(fields) {
        return fields.map((field) => {
            const [tag] = kind(field);
            return { tag, val: column(tag, this.rows.map((row) => value(row, field))) };
        });
    }

    present(field) {
        return this.rows.map((row) => value(row, field) !== undefined);
    }

    events(offset, limit) {
        return this.rows.slice(offset, offset + limit).map((row) => ({ ...row }));
    }

    push({ data, ends }) {
        const starts = [0, ...ends];
        this.rows.push(...Array.from(ends, (end, index) => decode(data.slice(starts[index], end))));
    }
}

/** The value of a field by its name in the contract. */
export function value(row, field) {
    return row[kind(field)[1]];
}

export function encode({ body, ...row }) {
    return encoder.encode(JSON.stringify(row, (_, part) => (typeof part === 'bigint' ? `${part}n` : part)));
}

/** A row, whose trace id is zero, as that of every event that comes from a body. */
export function decode(body) {
    const revive = (_, part) => (/^-?\d+n$/.test(part) ? BigInt(part.slice(0, -1)) : part);
    try {
        return { ...JSON.parse(new TextDecoder().decode(body), revive), traceId: { high: 0n, low: 0n }, body };
    } catch {
        throw Object.assign(new Error('an invalid body'), { payload: 'the body is not one of an event' });
    }
}

function kind(field) {
    if (!(field in COLUMNS)) throw Object.assign(new Error(field), { payload: `\`${field}\` is not a field that this stand-in has` });
    return COLUMNS[field];
}

function column(tag, values) {
    switch (tag) {
        case 'uuids':
            return BigUint64Array.from(values.flatMap(({ high, low }) => [high, low]));
        case 'integers':
            return BigInt64Array.from(values);
        default: {
            const pieces = values.map((one) => (typeof one === 'string' ? encoder.encode(one) : (one ?? new Uint8Array())));
            let end = 0;
            const ends = Uint32Array.from(pieces, (piece) => (end += piece.length));
            const data = new Uint8Array(end);
            pieces.forEach((piece, index) => data.set(piece, ends[index] - piece.length));
            return tag === 'texts' ? { text: new TextDecoder().decode(data), ends } : { data, ends };
        }
    }
}
