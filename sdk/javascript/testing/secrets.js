// Secrets, to be set by a test.
import { Refused } from './refused.js';

export const secrets = new Map();

export function get(label) {
    if (!secrets.has(label)) throw new Refused('no-such-label', label);
    return new TextEncoder().encode(secrets.get(label));
}
