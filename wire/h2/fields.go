package h2

import (
	"strconv"
	"strings"

	"golang.org/x/net/http2/hpack"
)

// fieldFault says what is wrong with one field (RFC 9113 section 8.2), "" if nothing is. White space at the edges of a
// value is let pass, as by upstream's h2.
func fieldFault(f hpack.HeaderField) string {
	name := f.Name
	if name == "" {
		return "empty field name"
	}
	if name[0] == ':' {
		name = name[1:]
	}
	for i := range len(name) {
		if !tokenChar(name[i]) {
			return "bad character in a field name"
		}
	}
	for i := range len(f.Value) {
		if b := f.Value[i]; b == 0 || b == '\r' || b == '\n' {
			return "bad character in a field value"
		}
	}
	switch f.Name { // section 8.2.2
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		return "connection-specific field"
	case "te":
		if f.Value != "trailers" {
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
	put := func(i int, dst *string, v string) {
		if seen[i] {
			fault = "pseudo-header field twice"
		}
		seen[i], *dst = true, v
	}
	for i := range k.fields {
		f := &k.fields[i]
		switch f.Name {
		case ":method":
			put(0, &r.Method, f.Value)
		case ":scheme":
			put(1, &r.Scheme, f.Value)
		case ":path":
			put(2, &r.Path, f.Value)
		case ":authority":
			put(3, &r.Authority, f.Value)
		case "content-type":
			r.ContentType = f.Value
		case "authorization":
			r.Authorization = f.Value
		case "content-length":
			var ok bool
			if length, ok = contentLength(length, f.Value); !ok {
				fault = "bad content-length"
			}
		default:
			if f.IsPseudo() {
				fault = "unknown pseudo-header field"
			}
		}
	}
	r.EndStream, r.fields = k.endStream, k.fields
	switch {
	case fault != "":
	case r.Method == "":
		fault = "no :method"
	case r.Method == "CONNECT": // RFC 9113 section 8.5
		if seen[1] || seen[2] || r.Authority == "" {
			fault = "malformed CONNECT"
		}
	case r.Scheme == "" || r.Path == "":
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
		switch f.Name {
		case ":status":
			n, err := strconv.Atoi(f.Value)
			if r.Status != 0 || err != nil || len(f.Value) != 3 || n < 100 || n == 101 {
				fault = "bad :status"
			}
			r.Status = n
		case "content-type":
			r.ContentType = f.Value
		case "content-length":
			var ok bool
			if length, ok = contentLength(length, f.Value); !ok {
				fault = "bad content-length"
			}
		default:
			if f.IsPseudo() {
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
func contentLength(prev int64, v string) (int64, bool) {
	n, err := strconv.ParseUint(v, 10, 63)
	if err != nil || v[0] == '+' || prev >= 0 && prev != int64(n) {
		return prev, false
	}
	return int64(n), true
}

// grpcOutcome reads grpc-status and grpc-message; -1 without a status, 2 (UNKNOWN) for one that is no number.
func grpcOutcome(fields []hpack.HeaderField) (status int, msg string) {
	v, ok := lookup(fields, "grpc-status")
	if !ok {
		return -1, ""
	}
	n, err := strconv.ParseUint(v, 10, 16)
	if err != nil {
		n = 2
	}
	msg, _ = lookup(fields, "grpc-message")
	return int(n), unescape(msg)
}

// unescape undoes the percent-encoding of grpc-message; what is no escape stays as it is.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(v))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

// appendEscaped appends s percent-encoded as grpc-message wants it: all but space to tilde, and the percent sign.
func appendEscaped(dst []byte, s string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		if b := s[i]; b < ' ' || b > '~' || b == '%' {
			dst = append(dst, '%', hex[b>>4], hex[b&15])
		} else {
			dst = append(dst, b)
		}
	}
	return dst
}
