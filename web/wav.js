// WAV as Python reads it: browsers scale positive and negative 16-bit samples by different numbers.

/** Channels of 16-bit or float samples of a WAV file at this rate; nothing of another file. */
export function channelsOf(bytes, rate) {
  const view = new DataView(bytes), text = (at) => String.fromCharCode(...new Uint8Array(bytes, at, 4));
  if (bytes.byteLength < 44 || text(0) !== "RIFF" || text(8) !== "WAVE") return undefined;
  let format;
  for (let at = 12; at + 8 <= bytes.byteLength; ) {
    const size = view.getUint32(at + 4, true), body = at + 8;
    if (text(at) === "fmt ") {
      const [kind, channels, hertz, bits] = [view.getUint16(body, true), view.getUint16(body + 2, true), view.getUint32(body + 4, true), view.getUint16(body + 14, true)];
      const read = kind === 1 && bits === 16 ? (i) => view.getInt16(i, true) / 32768 : kind === 3 && bits === 32 ? (i) => view.getFloat32(i, true) : undefined;
      if (!read || hertz !== rate || !channels) return undefined;
      format = { read, channels, step: bits / 8 };
    } else if (text(at) === "data" && format) {
      const { read, channels, step } = format;
      const length = Math.floor(Math.min(size, bytes.byteLength - body) / (channels * step));
      return Array.from({ length: channels }, (_, channel) =>
        Float32Array.from({ length }, (_, i) => read(body + (i * channels + channel) * step)));
    }
    at = body + size + (size % 2);
  }
  return undefined;
}
