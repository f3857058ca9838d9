// Secrets that the operator has granted.
import { get as granted } from 'reflow:capabilities/secrets';
import { Unavailable, call } from './errors.js';

export function get(label) {
    return call({ grant: 'secrets', what: 'secret' }, () => granted(label));
}

export function text(label) {
    try {
        return new TextDecoder('utf-8', { fatal: true }).decode(get(label));
    } catch (error) {
        // The message omits the value, because errors are logged.
        throw error instanceof TypeError ? new Unavailable(`the secret \`${label}\` is not UTF-8 text`) : error;
    }
}
