// The plugin's settings, to be set by a test.
export const settings = {};

export const get = (name) => (name in settings ? JSON.stringify(settings[name]) : undefined);
export const names = () => Object.keys(settings).sort();
