// The visible elements of the page in reading order, as [{role, text, value, state, box: [left, top, right, bottom]}],
// boxes in CSS pixels. An element is listed when a pointer can reach it and it is a control, reacts to clicks, or holds
// text of its own; containers are not.
(limit) => {
  const WIDTH = window.innerWidth, HEIGHT = window.innerHeight;
  const CONTROLS = 'input, button, textarea, select, option, a, summary';
  const FIELDS = 'input:not([type=button]):not([type=submit]), textarea, select';
  const SKIPPED = '#query, #reward-display, #sync-task-cover, #click-canvas, #attention-canvas, script, style, ' +
    '.ui-datepicker-calendar thead, .ui-helper-hidden-accessible, .selectricHideSelect';
  const squash = (text) => (text || '').replace(/\s+/g, ' ').trim();
  const clip = (text) => [...squash(text).slice(0, 2 * limit)].slice(0, limit).join('').trim();  // no half characters
  const ownText = (node) => squash([...node.childNodes].filter((c) => c.nodeType === 3 && !named.has(c)).map((c) => c.data).join(' '));
  const named = new Set();  // nodes whose text already names a field
  const clickable = (node) => Boolean(node.onclick || node.__tracerClick);

  function visibleBox(node) {
    const style = getComputedStyle(node);
    if (style.visibility !== 'visible' || style.opacity === '0' || style.pointerEvents === 'none') return null;
    // A wrapped inline element is several rectangles; the middle of its bounding box can lie outside all of them.
    let best = null;
    for (const r of node.getClientRects()) if (!best || r.width * r.height > best.width * best.height) best = r;
    if (!best) return null;
    let [left, top, right, bottom] = [best.left, best.top, best.right, best.bottom];
    for (let p = node.parentElement; p && p !== document.documentElement; p = p.parentElement) {
      if (p === document.body || getComputedStyle(p).overflow === 'visible') continue;
      const r = p.getBoundingClientRect();
      [left, top] = [Math.max(left, r.left), Math.max(top, r.top)];
      [right, bottom] = [Math.min(right, r.right), Math.min(bottom, r.bottom)];
    }
    [left, top] = [Math.max(left, 0), Math.max(top, 0)];
    [right, bottom] = [Math.min(right, WIDTH), Math.min(bottom, HEIGHT)];
    if (right - left < 3 || bottom - top < 3) return null;
    // Something on top (a dialog, a pop-up) takes the click.
    const hit = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
    if (!hit || !(node === hit || node.contains(hit))) return null;
    return [left, top, right, bottom];
  }

  function fieldName(node) {
    const label = node.labels && node.labels[0];
    if (label && squash(label.textContent)) { named.add(label); return squash(label.textContent); }
    const given = node.getAttribute('aria-label') || node.placeholder;
    if (given) return given;
    if (node.type === 'checkbox' || node.type === 'radio') {
      const next = node.nextSibling;
      if (next && !(next.matches && next.matches(CONTROLS)) && squash(next.textContent)) {
        named.add(next);
        return squash(next.textContent);
      }
    }
    let child = node;
    for (let p = node.parentElement, up = 0; p && up < 3 && p.id !== 'area' && p !== document.body; child = p, p = p.parentElement, up++) {
      if (p.querySelectorAll(FIELDS).length !== 1) break;
      // Beside something that reacts to clicks, text is no caption.
      if ([...p.querySelectorAll('*')].some((c) => clickable(c) && !c.contains(node))) break;
      const parts = [...p.childNodes].filter((c) => c !== child && !(c.matches && c.matches(CONTROLS)) &&
        !(c.querySelector && c.querySelector(CONTROLS)) && squash(c.textContent));
      const text = squash(parts.map((c) => c.textContent).join(' '));
      if (text && text.length <= limit) {
        parts.forEach((c) => named.add(c));
        return text;
      }
      if (text) break;
    }
    return '';
  }

  function name(node) {
    if (node.matches('input[type=button], input[type=submit]')) return node.value;
    if (node.matches(FIELDS)) return fieldName(node);
    const text = squash(node.textContent) || node.getAttribute('aria-label') || node.getAttribute('alt') || node.title;
    return text || (typeof node.className === 'string' && node.className.split(' ')[0].replace(/^ui-/, '')) || node.id;
  }

  function value(node) {
    if (node.matches('select')) return [...node.selectedOptions].map((o) => o.textContent).join(', ');
    if (node.matches('textarea') || (node.matches('input') && /^(text|password|date|time|number|search|email|tel|url)$/.test(node.type))) return node.value;
    return '';
  }

  function state(node) {
    const words = [];
    const holder = node.hasAttribute('aria-selected') ? node : node.parentElement;
    if (node.checked) words.push('checked');
    if (document.activeElement === node) words.push('focused');
    if (node.matches('option') ? node.selected : holder.getAttribute('aria-selected') === 'true' ||
      /(^| )(selected|clicked|active|ui-state-active|ui-state-focus|highlighted)( |$)/.test(node.className)) words.push('selected');
    if (node.disabled) words.push('disabled');
    if (node.getAttribute('aria-expanded') === 'true') words.push('expanded');
    return words.join(' ');
  }

  const fields = [...document.querySelectorAll(FIELDS)].filter((f) => f.getClientRects().length);
  const fieldNames = new Map(fields.map((f) => [f, fieldName(f)]));
  const out = [];
  (function walk(node) {
    if (node.matches(SKIPPED) || (named.has(node) && !node.querySelector(CONTROLS))) return;
    const leaf = [...node.querySelectorAll('*')].every((c) => !clickable(c) && !c.matches(CONTROLS));
    const label = squash(node.textContent);
    // A list reacts for its entries, which are what people click.
    const icon = clickable(node) && leaf && label.length <= limit && !node.matches('ul, ol');
    const listed = node.matches(CONTROLS) || icon || (node.tagName === 'IMG' && Boolean(node.alt)) || Boolean(ownText(node) && node.tagName !== 'LABEL');
    if (listed) {
      const box = visibleBox(node);
      if (box) {
        const whole = node.matches(CONTROLS) || icon || node.tagName === 'IMG';
        const text = whole ? (fieldNames.has(node) ? fieldNames.get(node) : name(node)) : ownText(node);
        const tag = node.tagName.toLowerCase();
        out.push({
          role: tag === 'input' ? 'input:' + node.type : tag,
          text: clip(text), value: clip(value(node)), state: state(node), box,
        });
      }
      if (icon || (node.matches(CONTROLS) && !node.matches('select'))) return;
    }
    for (const child of node.children) walk(child);
  })(document.body);
  return out;
}
