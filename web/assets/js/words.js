// Settings and their changes in words. No DOM.

/** A value as a word. */
export function word(value) {
  if (value === true) return 'on';
  return value === false ? 'off' : String(value);
}

/** A change in a few words: `slice_ms 5, preemption forced`. */
export function words(changes) {
  return changes.map(({ field, new: value }) => `${field} ${word(value)}`).join(', ');
}

/** What a form asks for that is not so already. Numbers that are none go as they were typed: the service says so. */
export function asked(fields, config) {
  const change = {};
  for (const { name, value, kind } of fields) {
    const now = config[name];
    if (now === undefined || value === '' || value === word(now)) continue;
    if (kind === 'switch') change[name] = value === 'on';
    else if (kind === 'number') change[name] = Number.isFinite(Number(value)) ? Number(value) : value;
    else change[name] = value;
  }
  return change;
}
