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
    if (open.kind === 'type' && (open.text || open.told)) end(open.id, {type: 'type', text: open.text}, open.hidden);
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
  const dropdown = (node) => node instanceof Element && node.matches('select') && !node.multiple && node.size <= 1;
  function field(node) {
    if (!(node instanceof Element)) return false;
    if (node.matches('input')) return TEXTS.test(node.type) && !node.readOnly && !node.disabled;
    return node.matches('textarea') ? !node.readOnly && !node.disabled : node.isContentEditable;
  }
  const on = (type, heard, options) => window.addEventListener(type, (event) => { if (event.isTrusted) heard(event); }, {capture: true, ...options});

  on('mousedown', (event) => {
    finish();
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
  on('mouseup', release);
  on('drop', release);  // where it was dropped; the end of a drag need not know
  on('dragend', release);
  on('click', (event) => {
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
    } else if (event.inputType === 'insertReplacementText' || (PICKED.test(chosen.type) && !(S.open && S.open.target === chosen))) {
      say({kind: 'note', text: `a value that the browser filled in or picked (${chosen.type}) is not recorded: type it`});
    }
  });
  on('compositionend', (event) => { if (S.open && S.open.kind === 'type') S.open.text += event.data; });

  function name(event) {
    const {key} = event, modified = event.ctrlKey || event.altKey || event.metaKey;
    const held = [[event.ctrlKey, 'Control'], [event.altKey, 'Alt'], [event.metaKey, 'Meta'], [event.shiftKey && (modified || key.length > 1), 'Shift']];
    return [...held.filter(([down]) => down).map(([, word]) => word), key === ' ' ? 'Space' : key].join('+');
  }
  function keep(open) {  // a text so far: whoever kills the recording has typed it
    if (S.open !== open || !open.text) return;
    open.told = true;
    end(open.id, {type: 'type', text: open.text}, open.hidden);
  }
  function types(event, where) {  // whether a key goes on with a text, or begins one
    const composed = ['Dead', 'Process'].includes(event.key) || event.isComposing, alternative = event.getModifierState('AltGraph');
    const open = S.open && S.open.kind === 'type' && S.open.target === where ? S.open : null;
    if (event.key === 'Backspace' && !event.ctrlKey && open && open.text) open.text = [...open.text].slice(0, -1).join('');
    else if (composed || (event.key.length === 1 && (alternative || !(event.ctrlKey || event.altKey || event.metaKey)))) {
      if (!open) {
        finish();
        S.open = {kind: 'type', id: begin(), target: where, text: '', hidden: isPrivate(where)};
      }
      if (!composed) S.open.text += event.key;
    } else return false;
    S.acted = now();
    clearTimeout(S.timer);
    S.timer = setTimeout(keep, PAUSE_MS, S.open);
    return true;
  }
  on('keydown', (event) => {
    const where = target(event);
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
    if ((open && text === S.copied) || !field(target(event))) return finish();
    S.open = null;  // a text from elsewhere is typed when it is played again
    event.preventDefault();
    event.stopImmediatePropagation();
    const id = open ? open.id : begin();
    document.execCommand('insertText', false, text);
    end(id, {type: 'type', text}, isPrivate(target(event)));
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
