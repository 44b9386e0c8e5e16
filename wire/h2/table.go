package h2

// staticFields is the static table of RFC 7541 appendix A; index 1 is the first.
var staticFields = [...]field{
	fixed(":authority", ""), fixed(":method", "GET"), fixed(":method", "POST"), fixed(":path", "/"),
	fixed(":path", "/index.html"), fixed(":scheme", "http"), fixed(":scheme", "https"), fixed(":status", "200"),
	fixed(":status", "204"), fixed(":status", "206"), fixed(":status", "304"), fixed(":status", "400"),
	fixed(":status", "404"), fixed(":status", "500"), fixed("accept-charset", ""),
	fixed("accept-encoding", "gzip, deflate"), fixed("accept-language", ""), fixed("accept-ranges", ""),
	fixed("accept", ""), fixed("access-control-allow-origin", ""), fixed("age", ""), fixed("allow", ""),
	fixed("authorization", ""), fixed("cache-control", ""), fixed("content-disposition", ""),
	fixed("content-encoding", ""), fixed("content-language", ""), fixed("content-length", ""),
	fixed("content-location", ""), fixed("content-range", ""), fixed("content-type", ""), fixed("cookie", ""),
	fixed("date", ""), fixed("etag", ""), fixed("expect", ""), fixed("expires", ""), fixed("from", ""),
	fixed("host", ""), fixed("if-match", ""), fixed("if-modified-since", ""), fixed("if-none-match", ""),
	fixed("if-range", ""), fixed("if-unmodified-since", ""), fixed("last-modified", ""), fixed("link", ""),
	fixed("location", ""), fixed("max-forwards", ""), fixed("proxy-authenticate", ""),
	fixed("proxy-authorization", ""), fixed("range", ""), fixed("referer", ""), fixed("refresh", ""),
	fixed("retry-after", ""), fixed("server", ""), fixed("set-cookie", ""), fixed("strict-transport-security", ""),
	fixed("transfer-encoding", ""), fixed("user-agent", ""), fixed("vary", ""), fixed("via", ""),
	fixed("www-authenticate", ""),
}

func fixed(name, value string) field { return field{name: []byte(name), value: []byte(value)} }

// maxTable is the size of a decoder's dynamic table, counted as in RFC 7541 section 4.1: we never announce another
// SETTINGS_HEADER_TABLE_SIZE than the initial one.
const maxTable = 4096

// fieldTable is the dynamic table of a decoder (RFC 7541 section 2.3.2). Empty when zero; takes memory as it fills.
//
//	bytes    ......|name value|name value|...|name value|
//	               ^ begin    oldest entry first         the newest has index 62
type fieldTable struct {
	bytes   []byte
	entries []tableEntry
	begin   int32
	head    int32  // index in entries of the oldest
	moved   uint32 // bytes that compaction has taken from the front of bytes, mod 2^32
	size    int32  // RFC 7541 section 4.1; at most limit
	reduced int32  // by how much the peer's encoder has lowered the limit below maxTable
}

// tableEntry says where an entry lies: at bytes[at-moved].
type tableEntry struct {
	at          uint32
	name, value uint16 // lengths; below maxTable
}

func (e tableEntry) size() int32 { return int32(e.name) + int32(e.value) + fieldOverhead }

func (t *fieldTable) limit() int { return maxTable - int(t.reduced) }

// setLimit applies a dynamic table size update (RFC 7541 section 6.3); false: it exceeds what we announced.
func (t *fieldTable) setLimit(n uint32) bool {
	if n > maxTable {
		return false
	}
	t.reduced = maxTable - int32(n)
	t.evict(0)
	return true
}

// get returns the field with that index (RFC 7541 section 2.3.3). fixed: it is of the static table and never changes;
// else the next insert may overwrite it.
func (t *fieldTable) get(i uint32) (f field, fixed, ok bool) {
	switch newest := uint32(len(staticFields)) + 1; {
	case i == 0:
		return field{}, false, false
	case i < newest:
		return staticFields[i-1], true, true
	case i-newest >= uint32(len(t.entries)-int(t.head)):
		return field{}, false, false
	default:
		e := t.entries[len(t.entries)-1-int(i-newest)]
		b := t.bytes[e.at-t.moved:]
		return field{name: b[:e.name:e.name], value: b[e.name:][:e.value:e.value]}, false, true
	}
}

// insert copies a field into the table (RFC 7541 section 4.4); one that is larger than the table only empties it. name
// and value must not be of the table.
func (t *fieldTable) insert(name, value []byte) {
	n := len(name) + len(value) + fieldOverhead
	if t.evict(n); n > t.limit() {
		return
	}
	t.entries = append(t.entries, tableEntry{at: uint32(len(t.bytes)) + t.moved, name: uint16(len(name)), value: uint16(len(value))})
	t.bytes = append(append(t.bytes, name...), value...)
	t.size += int32(n)
}

// evict drops the oldest entries until n more octets fit, and the memory of what was dropped once that is the larger
// part.
func (t *fieldTable) evict(n int) {
	for t.size > 0 && int(t.size)+n > t.limit() {
		e := t.entries[t.head]
		t.head++
		t.begin += int32(e.name) + int32(e.value)
		t.size -= e.size()
	}
	if int(t.head) > len(t.entries)/2 || int(t.begin) > len(t.bytes)/2 {
		t.bytes = append(t.bytes[:0], t.bytes[t.begin:]...)
		t.entries = append(t.entries[:0], t.entries[t.head:]...)
		t.moved += uint32(t.begin)
		t.begin, t.head = 0, 0
	}
}
