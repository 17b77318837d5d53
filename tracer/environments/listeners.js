// Marks the nodes that listen to clicks, whichever library (jQuery, d3, none) put the listener there.
const add = EventTarget.prototype.addEventListener;
EventTarget.prototype.addEventListener = function (type, ...rest) {
  if (this instanceof Element && ['click', 'mousedown', 'mouseup'].includes(type)) this.__tracerClick = true;
  return add.call(this, type, ...rest);
};
