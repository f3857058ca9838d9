// The plugin's own settings.
import { get as json, names } from 'reflow:capabilities/config';

export { names };

export function get(name) {
    const value = json(name);
    return value === undefined ? undefined : JSON.parse(value);
}

export { json };
