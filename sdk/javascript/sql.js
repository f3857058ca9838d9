// SQL databases that the operator has granted.
import { Connection, Transaction as Begun } from 'reflow:capabilities/sql';
import { call } from './errors.js';
import { Events } from './events.js';

const CAPABILITY = { grant: 'sql', what: 'database' };
/** Rows per call: a compromise between the number of calls and the memory. */
const FETCH = 1_000;

export const field = (name) => ({ tag: 'field', val: name });
export const high = (name) => ({ tag: 'high', val: name });
export const low = (name) => ({ tag: 'low', val: name });
export const fixed = (value) => ({ tag: 'fixed', val: toContract(value) });
export const lookedUp = (name, statement) => ({ tag: 'looked-up', val: { field: name, statement } });

class Statements {
    constructor(granted) {
        this.granted = granted;
    }

    execute(statement, ...params) {
        return call(CAPABILITY, () => this.granted.execute(statement, params.map(toContract)));
    }

    executeMany(statement, rows) {
        return call(CAPABILITY, () => this.granted.executeMany(statement, rows.map((row) => row.map(toContract))));
    }

    insertBatch(statement, bindings, events) {
        return call(CAPABILITY, () => this.granted.insertBatch(statement, bindings, events.batch));
    }

    *query(statement, ...params) {
        const cursor = call(CAPABILITY, () => this.granted.query(statement, params.map(toContract)));
        try {
            for (;;) {
                const rows = call(CAPABILITY, () => cursor.next(FETCH));
                if (rows.length === 0) return;
                for (const row of rows) yield row.map(fromContract);
            }
        } finally {
            // An open cursor takes a connection.
            cursor[Symbol.dispose]();
        }
    }

    all(statement, ...params) {
        return [...this.query(statement, ...params)];
    }

    queryEvents(statement, params, body = 0) {
        return new Events(call(CAPABILITY, () => this.granted.queryEvents(statement, params.map(toContract), body)));
    }
}

export class Transaction extends Statements {}

export class Database extends Statements {
    static open(label = 'default') {
        return new Database(call(CAPABILITY, () => Connection.open(label)));
    }

    get dialect() {
        return this.granted.dialect();
    }

    transaction(run) {
        const begun = call(CAPABILITY, () => this.granted.begin());
        let result;
        try {
            result = run(new Transaction(begun));
        } catch (error) {
            // Without a commit it is rolled back.
            begun[Symbol.dispose]();
            throw error;
        }
        call(CAPABILITY, () => Begun.commit(begun));
        return result;
    }
}

function toContract(value) {
    if (value === null || value === undefined) return { tag: 'null' };
    switch (typeof value) {
        case 'boolean':
            return { tag: 'boolean', val: value };
        case 'bigint':
            return { tag: 'integer', val: value };
        case 'number':
            return Number.isSafeInteger(value) ? { tag: 'integer', val: BigInt(value) } : { tag: 'real', val: value };
        case 'string':
            return { tag: 'text', val: value };
    }
    if (typeof value.toBytes === 'function') return { tag: 'blob', val: value.toBytes() };
    if (ArrayBuffer.isView(value)) return { tag: 'blob', val: value };
    throw new TypeError('a parameter of a statement is null, a boolean, a number, a bigint, a text, bytes or a Uuid');
}

function fromContract({ tag, val }) {
    return tag === 'null' ? null : val;
}
