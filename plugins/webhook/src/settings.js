// The table `[plugins.webhook.config]`.
import { InvalidArgument } from '#sdk';

/** Each setting: its default (none: required), what it must be, and how that is checked. */
const SETTINGS = {
    url: { must: 'be a URL of http or https', valid: (value) => typeof value === 'string' && isUrl(value) },
    secret: { default: 'signing', must: 'be the label of a granted secret', valid: (value) => typeof value === 'string' && value !== '' },
    headers: { default: {}, must: 'be a table of header names and values', valid: isTexts },
    secret_headers: { default: {}, must: 'be a table of header names and labels of granted secrets', valid: isTexts },
    attempts: { default: 4, must: 'be a number from 1 to 10', valid: within(1, 10) },
    backoff_ms: { default: 200, must: 'be a number from 1 to 60000', valid: within(1, 60_000) },
    timeout_ms: { default: 2_000, must: 'be a number from 1 to 60000', valid: within(1, 60_000) },
    total_ms: { default: 4_500, must: 'be a number from 1 to 600000', valid: within(1, 600_000) },
    max_body_kb: { default: 1_024, must: 'be a number from 1 to 16384', valid: within(1, 16_384) },
};

/** Header fields that the plugin sets itself, or that HTTP reserves. */
const RESERVED = /^(webhook-.*|content-type|content-length|host|connection|transfer-encoding)$/i;

export function readSettings(config) {
    const settings = {};
    for (const name of Object.keys(config)) {
        if (!(name in SETTINGS)) {
            throw new InvalidArgument(`\`${name}\` is not a setting of this plugin; there are: ${Object.keys(SETTINGS).join(', ')}`);
        }
    }
    for (const [name, { default: usual, must, valid }] of Object.entries(SETTINGS)) {
        const value = config[name] ?? usual;
        if (value === undefined) throw new InvalidArgument(`\`${name}\` is missing: it must ${must}`);
        if (!valid(value)) throw new InvalidArgument(`\`${name}\` is ${JSON.stringify(value)}; it must ${must}`);
        settings[name] = value;
    }
    const reserved = Object.keys({ ...settings.headers, ...settings.secret_headers }).find((name) => RESERVED.test(name));
    if (reserved !== undefined) throw new InvalidArgument(`the header \`${reserved}\` is set by the plugin: remove it from the configuration`);
    return settings;
}

function isUrl(text) {
    try {
        const { protocol, username, password } = new URL(text);
        return (protocol === 'http:' || protocol === 'https:') && username === '' && password === '';
    } catch {
        return false;
    }
}

function isTexts(value) {
    const text = (one) => typeof one === 'string' && !/[\r\n\0]/.test(one);
    const table = typeof value === 'object' && value !== null && !Array.isArray(value);
    return table && Object.entries(value).every(([name, one]) => /^[!#$%&'*+.^_`|~\w-]+$/.test(name) && text(one));
}

function within(least, most) {
    return (value) => Number.isInteger(value) && least <= value && value <= most;
}
