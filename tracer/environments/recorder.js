// What a person does on a page, told step by step: `begin` with the elements on the screen as the step begins, before the
// page hears of it, and `end` with the action. Only trusted events count. Installed in every frame; frames of the same
// site share the state of the topmost one, and frames of another site are covered and not listened to.
((list, settings) => {
  const NEAR = 4, PAUSE_MS = 500, CAUSED_MS = 1000, HISTORY = 200;
  const PICKED = /^(date|time|datetime-local|month|week|color|file)$/;
  const TEXTS = /^(text|search|email|tel|url|password|number|date|time|datetime-local|month|week)$/;
  const MODIFIERS = new Set(['Shift', 'Control', 'Alt', 'Meta', 'AltGraph', 'CapsLock', 'NumLock', 'Fn']);
  const WITHIN_A_SELECT = /^(Arrow|Page|Home$|End$|Enter$| $)/;
  let top = window;
  try { for (; top !== top.parent; top = top.parent) top.parent.document.body; } catch { return; }
  if (top !== window.top || window.__tracerRecorder || typeof tracerSay === 'undefined') return;

  const attach = Element.prototype.attachShadow;  // a password in a closed root would be seen and not known
  Element.prototype.attachShadow = function (init) { return attach.call(this, {...init, mode: 'open'}); };
  const say = (message) => tracerSay(JSON.stringify(message));
  const now = () => performance.timeOrigin + performance.now();
  const known = new WeakSet();  // a password that is shown is one still

  function* matches(root, css) {
    yield* root.querySelectorAll(css);
    for (const node of root.querySelectorAll('*')) if (node.shadowRoot) yield* matches(node.shadowRoot, css);
  }
  function privates() {
    for (const node of matches(document, settings.private)) known.add(node);
    return [...matches(document, '*')].filter((node) => known.has(node));
  }
  const isPrivate = (node) => {
    for (let p = node; p; p = p.parentNode || p.host) if (known.has(p) || (p.matches && p.matches(settings.private))) return true;
    return false;
  };
  function words(node) {
    if (node.matches('select')) return [...node.selectedOptions].map((option) => option.textContent);
    if (typeof node.value === 'string') return [node.value];
    const found = [node.textContent];
    for (const child of node.querySelectorAll('*')) found.push(...(typeof child.value === 'string' ? [child.value] : [child.textContent]));
    return found;
  }
  function place() {  // where this frame is in the window
    let [x, y] = [0, 0];
    for (let w = window; w !== top; w = w.parent) {
      const frame = w.frameElement, r = frame.getBoundingClientRect();
      [x, y] = [x + r.left + frame.clientLeft, y + r.top + frame.clientTop];
    }
    return [x, y];
  }
  const inside = (frame) => { try { return frame.contentWindow.__tracerRecorder; } catch { return null; } };
  function moved(box) {
    const [x, y] = place();
    return [box[0] + x, box[1] + y, box[2] + x, box[3] + y];
  }

  const me = {
    elements() {
      const found = document.body ? list(settings.limit).map((each) => ({...each, box: moved(each.box)})) : [];
      for (const frame of document.querySelectorAll('iframe, frame')) {
        const shown = frame.getBoundingClientRect(), [x, y] = place();
        for (const each of inside(frame) ? inside(frame).elements() : []) {
          const [left, above, right, below] = each.box, middle = [(left + right) / 2 - x, (above + below) / 2 - y];
          const box = [Math.max(left, shown.left + x), Math.max(above, shown.top + y), Math.min(right, shown.right + x), Math.min(below, shown.bottom + y)];
          if (document.elementFromPoint(...middle) === frame && box[2] > box[0] && box[3] > box[1]) found.push({...each, box});
        }
      }
      return found;
    },
    hidden() {
      const found = privates().flatMap((node) => [...node.getClientRects()]);
      for (const frame of document.querySelectorAll('iframe, frame, object, embed')) if (!inside(frame)) found.push(frame.getBoundingClientRect());
      const boxes = found.filter((r) => r.width && r.height).map((r) => moved([r.left, r.top, r.right, r.bottom]));
      for (const frame of document.querySelectorAll('iframe, frame')) if (inside(frame)) boxes.push(...inside(frame).hidden());
      return boxes;
    },
    secrets() {
      const found = privates().flatMap(words);
      for (const frame of document.querySelectorAll('iframe, frame')) if (inside(frame)) found.push(...inside(frame).secrets());
      return found;
    },
    look() {
      note();
      return {time: now(), born: performance.timeOrigin, elements: me.elements(), hidden: S.history, secrets: me.secrets()};
    },
    finish: () => finish(),
  };
  Object.defineProperty(window, '__tracerRecorder', {value: me});
  const S = top === window ? (me.state = {count: 0, open: null, press: null, last: null, acted: -Infinity, copied: '', history: []}) : top.__tracerRecorder.state;

  function note() {  // where the private boxes are, and were when the last pictures were taken
    const boxes = top.__tracerRecorder.hidden(), last = S.history.at(-1);
    if (!last || JSON.stringify(last.boxes) !== JSON.stringify(boxes)) S.history.push({time: now(), boxes});
    S.history.splice(0, S.history.length - HISTORY);
  }
  if (top === window) setInterval(() => { if (document.body) note(); }, 100);
  for (const type of ['scroll', 'resize', 'input']) window.addEventListener(type, () => note(), true);

  function begin() {
    const id = `${performance.timeOrigin}/${S.count++}`;
    say({kind: 'begin', id, ...top.__tracerRecorder.look()});
    S.acted = now();
    return id;
  }
  function end(id, action, hidden) {
    S.last = {id, ...action};
    say({kind: 'end', id, action: hidden ? {...action, text: ''} : action, hidden: Boolean(hidden)});
  }
  function finish() {  // what goes on until something else begins: typing, scrolling, choosing
    const open = S.open;
    S.open = null;
    if (!open) return;
    if (open.kind === 'type') entered(open);
    if (open.kind === 'select') end(open.id, {type: 'select', text: words(open.target)[0]}, open.hidden);
    if (open.kind === 'paste') end(open.id, {type: 'key', key: open.key});
    if (open.kind === 'scroll') scrolled(open);
  }
  const fraction = (value, size) => Math.min(Math.max(value / size, 0), 1);
  function at(event, x = 'x', y = 'y') {
    const [left, above] = place();
    // The middle of the pixel: done again, it is the same pixel.
    return {[x]: fraction(event.clientX + left + 0.5, top.innerWidth), [y]: fraction(event.clientY + above + 0.5, top.innerHeight)};
  }
  const target = (event) => event.composedPath()[0];

  // What is entered into a field is read from the field: much of it comes without keys. Keys alone count where nothing
  // else came in, since a page may do with them as it likes, and will again.
  const content = (node) => (typeof node.value === 'string' ? node.value : node.textContent.replace(/\u00a0/g, ' '));
  function selected(node) {  // from where to where; the end where a field does not tell
    const size = content(node).length, range = getSelection().rangeCount ? getSelection().getRangeAt(0) : null;
    if (typeof node.value === 'string') return node.selectionStart === null ? [size, size] : [node.selectionStart, node.selectionEnd];
    if (!range || !node.contains(range.startContainer)) return [size, size];
    const before = document.createRange();
    before.selectNodeContents(node);
    before.setEnd(range.startContainer, range.startOffset);
    return [`${before}`.length, `${before}`.length + `${range}`.length];
  }
  const typingIn = (node) => (S.open && S.open.kind === 'type' && S.open.target === node ? S.open : null);
  function typing(node, begun) {  // the text that is being entered there
    if (!typingIn(node)) {
      if (!begun) finish();
      const id = begun || begin(), value = content(node), [start, stop] = selected(node);
      S.open = {kind: 'type', id, target: node, keys: '', keyless: false, before: value.slice(0, start), after: value.slice(stop), seen: value, hidden: isPrivate(node)};
    }
    S.acted = now();
    clearTimeout(S.timer);
    S.timer = setTimeout(keep, PAUSE_MS, S.open);
    return S.open;
  }
  function between({before, after}, value) {
    const fits = value.length >= before.length + after.length && value.startsWith(before) && value.endsWith(after);
    return fits ? value.slice(before.length, value.length - after.length) : '';
  }
  function textOf(open) {
    const value = content(open.target);
    if (!open.keyless || (open.keys && open.before + open.keys + open.after === value)) return open.keys;
    return between(open, value) || between(open, open.seen);  // a page may have cleared it since
  }
  function entered(open) {
    const text = textOf(open);
    if (text || open.told) end(open.id, {type: 'type', text}, open.hidden);
    if (open.keyless && open.before + text + open.after !== content(open.target)) say({kind: 'note', text: 'what a field holds in the end: the page or the browser changed the text that was entered'});
  }
  const dropdown = (node) => node instanceof Element && node.matches('select') && !node.multiple && node.size <= 1;
  function field(node) {
    if (!(node instanceof Element)) return false;
    if (node.matches('input')) return TEXTS.test(node.type) && !node.readOnly && !node.disabled;
    return node.matches('textarea') ? !node.readOnly && !node.disabled : node.isContentEditable;
  }
  const on = (type, heard, options) => window.addEventListener(type, (event) => { if (event.isTrusted) heard(event); }, {capture: true, ...options});

  on('mousedown', (event) => {
    finish();
    S.caused = false;
    const last = S.last, again = event.detail > 1 && event.detail <= 3 && event.button === 0 && last &&
      /click$/.test(last.type) && !/right|middle/.test(last.type) && Math.hypot(event.screenX - last.screen[0], event.screenY - last.screen[1]) <= NEAR;
    S.press = {id: again ? last.id : begin(), count: again ? event.detail : 1, button: event.button, from: at(event), screen: [event.screenX, event.screenY]};
    S.acted = now();
    if (dropdown(target(event))) release(event);  // its list takes the rest of the click
  });
  function release(event) {
    const press = S.press;
    S.press = null;
    if (!press) return;
    const far = Math.hypot(event.screenX - press.screen[0], event.screenY - press.screen[1]) > NEAR;
    const type = far ? 'drag' : ['click', 'middle_click', 'right_click'][press.button] || 'click';
    const named = press.count > 1 && !far ? ['double_click', 'triple_click'][press.count - 2] : type;
    end(press.id, {type: named, ...press.from, ...(far ? at(event, 'to_x', 'to_y') : {})});
    S.last.screen = press.screen;
  }
  function causes() {  // what comes into a field now is the doing of a step that is recorded
    S.caused = true;
    setTimeout(() => { S.caused = false; });
  }
  on('mouseup', (event) => {
    causes();
    release(event);
  });
  on('drop', (event) => {  // where it was dropped; the end of a drag need not know
    if (S.press) causes();
    release(event);
  });
  on('dragend', release);
  on('click', (event) => {
    causes();
    const chosen = target(event);
    if (dropdown(chosen)) setTimeout(() => { S.choosing = {id: begin(), target: chosen}; }, 100);
  });

  on('input', (event) => {
    const chosen = target(event);
    if (isPrivate(chosen)) known.add(chosen);
    if (dropdown(chosen)) {
      if (S.open && S.open.kind === 'select' && S.open.target === chosen) return;
      finish();
      const id = S.choosing && S.choosing.target === chosen ? S.choosing.id : begin();
      S.open = {kind: 'select', id, target: chosen, hidden: isPrivate(chosen)};
      S.choosing = null;
    } else if (field(chosen) || PICKED.test(chosen.type)) {
      came(event, chosen);
    }
  });
  function came(event, chosen) {  // something into a field: by a key, by what else was done, or by itself
    const open = typingIn(chosen), key = S.key, byKey = key && (key === 'Backspace' || key === event.data);
    S.key = '';
    if (open) {
      open.seen = content(chosen);
      open.keyless = open.keyless || !(byKey || PICKED.test(chosen.type));
      typing(chosen);
    } else if (!byKey && !S.caused && !S.press && (event.inputType || PICKED.test(chosen.type) || chosen.matches(':autofill'))) {
      say({kind: 'note', text: `a value that the browser filled in, picked or changed (${chosen.type || 'text'}) is not recorded: type it`});
    }
  }
  on('beforeinput', (event) => {
    const where = target(event);
    if (event.inputType === 'insertText' && event.data !== S.key && !S.caused && !S.press && field(where)) typing(where);
  });
  on('compositionstart', (event) => { if (field(target(event))) typing(target(event)).keyless = true; });

  function name(event) {
    const {key} = event, modified = event.ctrlKey || event.altKey || event.metaKey;
    const held = [[event.ctrlKey, 'Control'], [event.altKey, 'Alt'], [event.metaKey, 'Meta'], [event.shiftKey && (modified || key.length > 1), 'Shift']];
    return [...held.filter(([down]) => down).map(([, word]) => word), key === ' ' ? 'Space' : key].join('+');
  }
  function keep(open) {  // a text so far: whoever kills the recording has typed it
    const text = S.open === open && textOf(open);
    if (!text) return;
    open.told = true;
    end(open.id, {type: 'type', text}, open.hidden);
  }
  function types(event, where) {  // whether a key goes on with a text, or begins one
    const composed = ['Dead', 'Process'].includes(event.key) || event.isComposing, alternative = event.getModifierState('AltGraph');
    const open = typingIn(where);
    if (event.key === 'Backspace' && !event.ctrlKey && open && textOf(open)) open.keys = [...open.keys].slice(0, -1).join('');
    else if (composed) typing(where).keyless = true;
    else if (event.key.length === 1 && (alternative || !(event.ctrlKey || event.altKey || event.metaKey))) typing(where).keys += event.key;
    else return false;
    typing(where);
    S.key = composed ? '' : event.key;
    return true;
  }
  on('keyup', () => { [S.key, S.caused] = ['', false]; });
  on('keydown', (event) => {
    const where = target(event);
    [S.key, S.caused] = ['', false];
    if (event.key === settings.stop) {
      event.preventDefault();
      event.stopImmediatePropagation();
      finish();
      say({kind: 'stop'});
    } else if (MODIFIERS.has(event.key) || (field(where) && types(event, where))) {
      return;
    } else if (dropdown(where) && !event.ctrlKey && (event.key.length === 1 || WITHIN_A_SELECT.test(event.key))) {
      if (S.open && S.open.target === where) return;
      finish();
      if (!S.choosing || S.choosing.target !== where) S.choosing = {id: begin(), target: where};
    } else if ((event.altKey && event.key === 'ArrowLeft') || event.key === 'BrowserBack') {
      finish();  // the arrival tells
      S.acted = -Infinity;
    } else {
      finish();
      const id = begin();
      S.caused = true;  // what comes into a field now is this key's doing
      if (event.ctrlKey && event.key.toLowerCase() === 'v' && field(where)) S.open = {kind: 'paste', id, key: name(event)};
      else if (isPrivate(where) && event.key.length === 1) end(id, {type: 'type'}, true);
      else end(id, {type: 'key', key: name(event)});
    }
  });
  for (const type of ['copy', 'cut']) on(type, () => {
    const node = document.activeElement, inField = node && typeof node.selectionStart === 'number';
    S.copied = (inField ? node.value.slice(node.selectionStart, node.selectionEnd) : String(getSelection())) || S.copied;
  });
  on('paste', (event) => {
    const text = event.clipboardData.getData('text'), open = S.open && S.open.kind === 'paste' ? S.open : null;
    if ((open && text === S.copied) || !field(target(event))) {
      causes();
      return finish();
    }
    S.open = null;  // a text from elsewhere is typed when it is played again
    event.preventDefault();
    event.stopImmediatePropagation();
    S.caused = false;
    typing(target(event), open && open.id).keyless = true;
    document.execCommand('insertText', false, text);
  });

  function positions(node) {
    const found = [];
    for (let p = node; p; p = p.parentElement || (p.getRootNode && p.getRootNode().host) || null) found.push([p, p.scrollLeft, p.scrollTop]);
    for (let w = window; w; w = w === top ? null : w.parent) found.push([w.document.scrollingElement, w.scrollX, w.scrollY]);
    return found;
  }
  on('wheel', (event) => {
    if (event.ctrlKey) return;
    const axis = Math.abs(event.deltaY) >= Math.abs(event.deltaX) ? 'y' : 'x', by = axis === 'y' ? event.deltaY : event.deltaX;
    let open = S.open;
    if (!(open && open.kind === 'scroll' && open.axis === axis && Math.sign(by) === Math.sign(open.by) && now() - open.time < PAUSE_MS)) {
      finish();
      open = S.open = {kind: 'scroll', id: begin(), axis, by: 0, from: at(event), positions: positions(target(event))};
    }
    open.by += by;
    open.time = S.acted = now();
    setTimeout(() => { open.used = open.used || event.defaultPrevented; });
    clearTimeout(S.timer);
    S.timer = setTimeout(() => { if (S.open === open) finish(); }, PAUSE_MS);
  }, {passive: false});  // else the page has moved before it is looked at
  function scrolled(open) {
    const along = open.axis === 'y' ? ([node, , y]) => node.scrollTop - y : ([node, x]) => node.scrollLeft - x;
    const went = open.positions.filter(([node]) => node).map(along).reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a), 0);
    const by = went || (open.used ? open.by : 0);
    if (!by) return;  // there was nothing to scroll
    const direction = open.axis === 'y' ? (by > 0 ? 'up' : 'down') : (by > 0 ? 'left' : 'right');
    end(open.id, {type: 'scroll', direction, ...open.from, amount: Math.abs(by) / (open.axis === 'y' ? top.innerHeight : top.innerWidth)});
  }

  window.addEventListener('blur', () => {
    const node = document.activeElement;
    if (node && node.matches('iframe') && !inside(node)) say({kind: 'note', text: 'what was done in a frame of another site is not recorded'});
  });
  if (top !== window) return;
  const index = () => (window.navigation && navigation.currentEntry ? navigation.currentEntry.index : -1);
  window.addEventListener('beforeunload', () => {  // what is said later is not heard
    if (S.press) release({screenX: S.press.screen[0], screenY: S.press.screen[1]});
    finish();
    say({kind: 'leave', id: `${performance.timeOrigin}/${S.count++}`, index: index(), caused: now() - S.acted < CAUSED_MS, ...me.look()});
  }, true);
  window.addEventListener('pageshow', (event) => {
    const [entry] = performance.getEntriesByType('navigation');
    say({kind: 'arrive', index: index(), how: event.persisted ? 'back_forward' : entry ? entry.type : 'navigate'});
  }, true);
})
