// Marks the nodes that listen to clicks, whichever library (jQuery, d3, none) put the listener there.
const add = EventTarget.prototype.addEventListener;
EventTarget.prototype.addEventListener = function (type, ...rest) {
  if (this instanceof Element && ['click', 'mousedown', 'mouseup'].includes(type)) this.__tracerClick = true;
  return add.call(this, type, ...rest);
};

// A clipboard for each page: the browser's own is shared, and pages played side by side would paste each other's texts.
let copied = '';
for (const type of ['copy', 'cut']) {
  add.call(document, type, () => {
    const field = document.activeElement;
    const inField = field && typeof field.selectionStart === 'number';
    const text = inField ? field.value.slice(field.selectionStart, field.selectionEnd) : String(getSelection());
    copied = text || copied;
  }, true);
}
add.call(document, 'paste', (event) => {
  event.preventDefault();
  if (copied) document.execCommand('insertText', false, copied);
}, true);
