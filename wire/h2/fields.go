package h2

import (
	"bytes"
	"strconv"
	"strings"
)

// malformed says what is wrong with one field (RFC 9113 section 8.2), "" if nothing is. White space at the edges of a
// value passes, as with upstream's h2.
func (f *field) malformed() string {
	name := f.name
	if len(name) == 0 {
		return "empty field name"
	}
	if name[0] == ':' {
		name = name[1:]
	}
	for _, b := range name {
		if !tokenChar(b) {
			return "bad character in a field name" // RFC 9113 section 8.2.1
		}
	}
	for _, b := range f.value {
		if b == 0 || b == '\r' || b == '\n' {
			return "bad character in a field value" // RFC 9113 section 8.2.1
		}
	}
	switch string(f.name) { // RFC 9113 section 8.2.2
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return "connection-specific field"
	case "te":
		if string(f.value) != "trailers" {
			return "te other than trailers"
		}
	}
	return ""
}

// tokenChar reports whether b may stand in a field name: a token of RFC 9110 section 5.6.2 without upper case.
func tokenChar(b byte) bool {
	return 'a' <= b && b <= 'z' || '0' <= b && b <= '9' || b > ' ' && b < 0x7f && strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0
}

// parse fills r from k and checks the pseudo-header fields of a request (RFC 9113 section 8.3.1). length is the
// content-length, -1 without one; fault is "" if the request is well-formed.
func (r *Request) parse(k *block) (length int64, fault string) {
	length = -1
	var seen [4]bool
	put := func(i int, dst *[]byte, v []byte) {
		if seen[i] {
			fault = "pseudo-header field twice"
		}
		seen[i], *dst = true, v
	}
	for i := range k.fields {
		f := &k.fields[i]
		switch string(f.name) {
		case ":method":
			put(0, &r.Method, f.value)
		case ":scheme":
			put(1, &r.Scheme, f.value)
		case ":path":
			put(2, &r.Path, f.value)
		case ":authority":
			put(3, &r.Authority, f.value)
		case "content-type":
			r.ContentType = f.value
		case "authorization":
			if r.Authorization == nil { // the first counts, as upstream
				r.Authorization = f.value
			}
		case "content-length":
			var ok bool
			if length, ok = contentLength(length, f.value); !ok {
				fault = "bad content-length"
			}
		default:
			if f.pseudo() {
				fault = "unknown pseudo-header field"
			}
		}
	}
	r.EndStream, r.fields = k.endStream, k.fields
	switch {
	case fault != "":
	case len(r.Method) == 0:
		fault = "no :method"
	case string(r.Method) == "CONNECT": // RFC 9113 section 8.5
		if seen[1] || seen[2] || len(r.Authority) == 0 {
			fault = "malformed CONNECT"
		}
	case len(r.Scheme) == 0 || len(r.Path) == 0:
		fault = "no :scheme or :path"
	case k.endStream && length > 0:
		fault = "content-length without DATA"
	}
	return length, fault
}

// parse fills r from k (RFC 9113 section 8.3.2); results as of Request.parse.
func (r *Response) parse(k *block) (length int64, fault string) {
	length = -1
	for i := range k.fields {
		f := &k.fields[i]
		switch string(f.name) {
		case ":status":
			n, ok := digits(f.value)
			if r.Status != 0 || !ok || len(f.value) != 3 || n < 100 || n == 101 { // 101 is no HTTP/2: section 8.6
				fault = "bad :status"
			}
			r.Status = int(n)
		case "content-type":
			r.ContentType = f.value
		case "content-length":
			var ok bool
			if length, ok = contentLength(length, f.value); !ok {
				fault = "bad content-length"
			}
		default:
			if f.pseudo() {
				fault = "unknown pseudo-header field"
			}
		}
	}
	r.GRPCStatus, r.Message = grpcOutcome(k.fields)
	r.EndStream, r.fields = k.endStream, k.fields
	if fault == "" && r.Status == 0 {
		fault = "no :status"
	}
	return length, fault
}

// contentLength parses one content-length; a repeated one must agree with prev (RFC 9110 section 8.6).
func contentLength(prev int64, v []byte) (int64, bool) {
	n, ok := digits(v)
	if !ok || prev >= 0 && prev != n {
		return prev, false
	}
	return n, true
}

// digits parses a decimal number of up to 18 digits.
func digits(v []byte) (n int64, ok bool) {
	if len(v) == 0 || len(v) > 18 {
		return 0, false
	}
	for _, b := range v {
		if b < '0' || b > '9' {
			return 0, false
		}
		n = 10*n + int64(b-'0')
	}
	return n, true
}

// grpcOutcome reads grpc-status and grpc-message; -1 without a status, 2 (UNKNOWN) for one that is no number.
func grpcOutcome(fields []field) (status int, msg string) {
	v, ok := lookup(fields, "grpc-status")
	if !ok {
		return -1, ""
	}
	n, ok := digits(v)
	if !ok || n > 1<<16-1 {
		n = 2
	}
	text, _ := lookup(fields, "grpc-message")
	return int(n), unescape(text)
}

// unescape undoes the percent-encoding of grpc-message; what is no escape stays as it is.
func unescape(s []byte) string {
	if bytes.IndexByte(s, '%') < 0 {
		return string(s)
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if v, err := strconv.ParseUint(string(s[i+1:i+3]), 16, 8); err == nil {
				b = append(b, byte(v))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// escaped reports whether grpc-message has b percent-encoded: all but space to tilde, and the percent sign.
func escaped(b byte) bool { return b < ' ' || b > '~' || b == '%' }

// escapedLen is the length of what appendEscaped appends.
func escapedLen(s string) int {
	n := len(s)
	for i := range len(s) {
		if escaped(s[i]) {
			n += 2
		}
	}
	return n
}

// appendEscaped appends s percent-encoded.
func appendEscaped(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		if b := s[i]; escaped(b) {
			dst = append(dst, '%', hex[b>>4], hex[b&15])
		} else {
			dst = append(dst, b)
		}
	}
	return dst
}
