// Reads the blobs that `packing.py` writes.

rw.blobs = (() => {
  const kept = new Map();
  const MOST = 64;

  async function inflate(index) {
    const text = atob(rw.$(`blob-${index}`).textContent);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  function integers(bytes, start, count, width) {
    const out = new Int32Array(count);
    for (let i = 0; i < count; i++) {
      let coded = 0;
      for (let k = width - 1; k >= 0; k--) coded = coded * 256 + bytes[start + k * count + i];
      out[i] = coded % 2 ? -(coded + 1) / 2 : coded / 2;
    }
    return out;
  }

  function decode(bytes) {
    const size = new DataView(bytes.buffer).getUint32(0, true);
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + size)));
    const fields = {};
    let at = 4 + size;
    for (const [name, shape, order, scale, firstWidth, width] of header) {
      const count = shape.reduce((a, b) => a * b, 1);
      const length = shape[shape.length - 1];
      const rows = order && count ? count / length : 0;
      const firsts = integers(bytes, at, rows, firstWidth);
      at += rows * firstWidth;
      const whole = integers(bytes, at, count, width);
      at += count * width;
      const data = new Float64Array(count);
      for (let row = 0; row < rows; row++) {
        const start = row * length;
        for (let turn = 0; turn < order; turn++) {
          for (let i = 1; i < length; i++) whole[start + i] += whole[start + i - 1];
        }
        for (let i = 0; i < length; i++) whole[start + i] += firsts[row];
      }
      for (let i = 0; i < count; i++) data[i] = whole[i] * scale;
      fields[name] = { shape, data };
    }
    return fields;
  }

  /** The arrays of a blob: name -> {shape, data}. */
  function read(index) {
    let found = kept.get(index);
    if (!found) {
      found = inflate(index).then(decode);
      if (kept.size >= MOST) kept.delete(kept.keys().next().value);
      kept.set(index, found);
    }
    return found;
  }

  return { read };
})();
