/** Reading of DICOM objects as OHIF has them (keywords as names), and of what DICOMweb answers. */

export const SOP = {
  SEG: '1.2.840.10008.5.1.4.1.1.66.4',
  LABEL_MAP: '1.2.840.10008.5.1.4.1.1.66.7',
  ANN: '1.2.840.10008.5.1.4.1.1.91.1',
  MAP: '1.2.840.10008.5.1.4.1.1.30',
  SR: ['1.2.840.10008.5.1.4.1.1.88.22', '1.2.840.10008.5.1.4.1.1.88.33', '1.2.840.10008.5.1.4.1.1.88.34'],
};

/** The items of a sequence, or the values of an element; none where it is absent. */
export const items = value => (value === undefined || value === null ? [] : [].concat(value));
export const first = value => items(value)[0];

/** Kind of overlay that an object is, or null. */
export function kindOf(instance) {
  if (instance.SOPClassUID === SOP.ANN) return 'ANN';
  if (instance.SOPClassUID === SOP.MAP) return 'MAP';
  if (instance.SOPClassUID === SOP.SEG) return instance.SegmentationType === 'FRACTIONAL' ? 'MAP' : 'SEG';
  if (instance.SOPClassUID === SOP.LABEL_MAP) return 'SEG';
  return SOP.SR.includes(instance.SOPClassUID) ? 'SR' : null;
}

/** A functional group of a frame: its own, or else the one that all frames share. */
export function group(instance, frame, name) {
  const own = items(instance.PerFrameFunctionalGroupsSequence)[frame - 1];
  return first(own?.[name]) ?? first(first(instance.SharedFunctionalGroupsSequence)?.[name]);
}

/** Whether an object was made from that image series, by what it refers to. */
export function refersTo(instance, series, frameOfReference) {
  const referred = [
    ...items(instance.ReferencedSeriesSequence),
    ...items(instance.CurrentRequestedProcedureEvidenceSequence).flatMap(study => items(study.ReferencedSeriesSequence)),
  ].map(item => item.SeriesInstanceUID);
  if (referred.includes(series)) return true;
  return Boolean(frameOfReference) && instance.FrameOfReferenceUID === frameOfReference;
}

/** Fetch through the browser's own log-in; only ever from this server, whatever host an object names. */
async function get(address, accept) {
  const { pathname, search } = new URL(address, window.location.href);
  const answer = await fetch(pathname + search, { headers: { Accept: accept }, credentials: 'same-origin' });
  if (!answer.ok) throw new Error(`the archive answered ${answer.status}`);
  return { type: answer.headers.get('Content-Type') ?? '', body: new Uint8Array(await answer.arrayBuffer()) };
}

/** Bytes of an element that stands in the object or is referred to. */
export async function bytes(element) {
  if (element?.InlineBinary) return Uint8Array.from(atob(first(element.InlineBinary)), c => c.charCodeAt(0));
  if (!element?.BulkDataURI) throw new Error('the object has no such data');
  const { type, body } = await get(element.BulkDataURI, 'multipart/related; type="application/octet-stream"');
  return type.startsWith('multipart/') ? parts(type, body)[0] : body;
}

/** Numbers of an element: a list where the archive sends one, else its bytes (little-endian) as `Numbers`. */
export async function numbers(element, Numbers) {
  const values = Array.isArray(element) ? element : element?.Value;
  if (values && typeof values[0] === 'number') return Numbers.from(values);
  const found = await bytes(Array.isArray(element) ? element[0] : element);
  const whole = found.length - (found.length % Numbers.BYTES_PER_ELEMENT);
  return new Numbers(found.slice(0, whole).buffer);
}

/** Native frames of an instance, in the order of `frames`. */
export async function fetchFrames(root, instance, frames) {
  const { StudyInstanceUID: study, SeriesInstanceUID: series, SOPInstanceUID: sop } = instance;
  const address = `${root}/studies/${study}/series/${series}/instances/${sop}/frames/${frames.join(',')}`;
  const { type, body } = await get(address, 'multipart/related; type="application/octet-stream"; transfer-syntax=*');
  return parts(type, body);
}

/** The parts of a multipart answer. */
function parts(type, body) {
  const boundary = /boundary="?([^";]+)"?/.exec(type)?.[1];
  if (!boundary) throw new Error('the archive sent no multipart answer');
  const mark = new TextEncoder().encode(`--${boundary}`);
  const found = [];
  for (let at = find(body, mark, 0); at >= 0; ) {
    const head = find(body, CRLF2, at);
    if (head < 0) break;
    const length = /content-length: *(\d+)/i.exec(new TextDecoder('latin1').decode(body.subarray(at, head)))?.[1];
    const begin = head + CRLF2.length;
    const next = find(body, mark, length ? begin + Number(length) : begin);
    if (next < 0) break;
    found.push(body.slice(begin, length ? begin + Number(length) : next - 2));
    at = next;
  }
  return found;
}

const CRLF2 = new Uint8Array([13, 10, 13, 10]);

function find(body, what, from) {
  for (let at = body.indexOf(what[0], from); at >= 0; at = body.indexOf(what[0], at + 1)) {
    if (what.every((byte, n) => body[at + n] === byte)) return at;
  }
  return -1;
}
