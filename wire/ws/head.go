package ws

import "bytes"

// head gathers the lines of a handshake (RFC 9112 section 2) and takes them apart when all have come. The zero value is
// ready. A handshake happens once in a connection, so its bytes are copied.
type head struct {
	buf    []byte // the lines so far, with their ends
	line   int    // where the current line begins
	lines  int    // that are complete
	before int    // bytes of earlier heads of the same handshake
	start  []byte // the first line; in buf
	fields []textField
}

// textField is a field of the head, as it came but for the space around its value.
type textField struct{ name, value []byte }

// headFault is why a head is not taken.
type headFault struct {
	status int
	reason string
}

// feed takes the bytes up to the empty line that ends the head. done=false: more is to come, and rest is empty.
func (h *head) feed(p []byte, maxHead, maxFields int) (rest []byte, done bool, fault *headFault) {
	for len(p) > 0 {
		n := bytes.IndexByte(p, '\n') + 1
		whole := n > 0
		if !whole {
			n = len(p)
		}
		if h.before+len(h.buf)+n > maxHead {
			return nil, false, &headFault{431, "handshake of more than " + itoa(maxHead) + " bytes"}
		}
		h.buf = append(h.buf, p[:n]...)
		p = p[n:]
		if !whole {
			return nil, false, nil
		}
		b := h.buf[h.line:]
		if len(b) < 2 || b[len(b)-2] != '\r' {
			return nil, false, &headFault{400, "line " + itoa(h.lines+1) + " of the handshake does not end with CRLF"}
		}
		if h.line = len(h.buf); len(b) == 2 {
			return p, true, h.parse()
		}
		if h.lines++; h.lines > maxFields+1 {
			return nil, false, &headFault{431, "handshake of more than " + itoa(maxFields) + " fields"}
		}
	}
	return nil, false, nil
}

// parse takes the head apart: RFC 9112 section 5.
func (h *head) parse() *headFault {
	b := h.buf
	for n := 0; n < h.lines; n++ {
		at := bytes.IndexByte(b, '\n')
		line := b[: at-1 : at-1]
		b = b[at+1:]
		if n == 0 {
			h.start = line
			continue
		}
		name, value, ok := bytes.Cut(line, []byte{':'})
		if value = bytes.Trim(value, " \t"); !ok || !isToken(name) || !isValue(value) {
			// RFC 9112 sections 5.1 and 5.2: neither a space before the colon nor a line that goes on with the one
			// before.
			return &headFault{400, "line " + itoa(n+1) + " of the handshake is not a field"}
		}
		h.fields = append(h.fields, textField{name, value})
	}
	if h.lines == 0 {
		return &headFault{400, "handshake without a first line"}
	}
	return nil
}

// next readies h for the next head of the same connection, which shares its bounds on bytes.
func (h *head) next() {
	*h = head{buf: h.buf[:0], before: h.before + len(h.buf)}
}

// wipe forgets the head: it may hold credentials.
func (h *head) wipe() {
	clear(h.buf[:cap(h.buf)])
	*h = head{}
}

// lookup returns the only value of the field of that lower-case name. n is how often it occurs.
func lookup(fields []textField, name string) (value []byte, n int) {
	for i := range fields {
		if equalFold(fields[i].name, name) {
			if n++; n == 1 {
				value = fields[i].value
			}
		}
	}
	return value, n
}

// hasToken reports whether one of the fields of that name lists the token, which is lower-case, as names are.
func hasToken(fields []textField, name, token string) bool {
	for i := range fields {
		if !equalFold(fields[i].name, name) {
			continue
		}
		for rest, more := fields[i].value, true; more; {
			var item []byte
			item, rest, more = bytes.Cut(rest, []byte{','})
			if equalFold(bytes.Trim(item, " \t"), token) {
				return true
			}
		}
	}
	return false
}

// equalFold compares ASCII without regard to case; lower is in lower case.
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, x := range b {
		if 'A' <= x && x <= 'Z' {
			x += 'a' - 'A'
		}
		if x != lower[i] {
			return false
		}
	}
	return true
}

// isToken: RFC 9110 section 5.6.2.
func isToken[T string | []byte](b T) bool {
	for i := range len(b) {
		switch x := b[i]; {
		case 'a' <= x && x <= 'z', 'A' <= x && x <= 'Z', '0' <= x && x <= '9':
		case x == '!', '#' <= x && x <= '\'', x == '*', x == '+', x == '-', x == '.', '^' <= x && x <= '`', x == '|', x == '~':
		default:
			return false
		}
	}
	return len(b) > 0
}

// isValue: RFC 9110 section 5.5.
func isValue[T string | []byte](b T) bool {
	for i := range len(b) {
		if x := b[i]; x < ' ' && x != '\t' || x == 0x7f {
			return false
		}
	}
	return true
}

// isTarget reports whether b holds what a request target may: printable ASCII without a space (RFC 9112 section 3.2),
// and no fragment.
func isTarget[T string | []byte](b T) bool {
	for i := range len(b) {
		if x := b[i]; x <= ' ' || x > '~' || x == '#' {
			return false
		}
	}
	return len(b) > 0
}

// isHTTP1 reports whether b is the version of an HTTP/1 message: "HTTP/1." and a digit.
func isHTTP1(b []byte) bool {
	return len(b) == 8 && string(b[:7]) == "HTTP/1." && '0' <= b[7] && b[7] <= '9'
}

// Field is an extra field of a handshake.
type Field struct{ Name, Value string }

// reserved are the fields of which the handshake knows itself, in lower case.
var reserved = [...]string{"host", "upgrade", "connection", "sec-websocket-key", "sec-websocket-version",
	"sec-websocket-accept", "sec-websocket-extensions", "sec-websocket-protocol", "content-length", "transfer-encoding"}

// Reserved reports whether an extra field may not have that name, in any case: configurations that name one are warned
// about, and connect without it. Rules: P-ws-4.
func Reserved(name string) bool {
	for _, r := range reserved {
		if equalFold([]byte(name), r) {
			return true
		}
	}
	return false
}

func allowed(fields []Field) bool {
	for i := range fields {
		if f := &fields[i]; !isToken(f.Name) || !isValue(f.Value) || Reserved(f.Name) {
			return false
		}
	}
	return true
}

func appendFields(dst []byte, fields []Field) []byte {
	for i := range fields {
		dst = appendField(dst, fields[i].Name, fields[i].Value)
	}
	return dst
}

func appendField[T string | []byte](dst []byte, name string, value T) []byte {
	dst = append(append(dst, name...), ": "...)
	return append(append(dst, value...), "\r\n"...)
}
