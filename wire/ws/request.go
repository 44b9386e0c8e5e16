package ws

import (
	"bytes"
	"slices"
)

// Request is a client's request, as it came: whether it can open a connection is known after Accept.
type Request struct {
	Method []byte
	// Path is the path of the target, as it came, not decoded.
	Path []byte
	// Query is what follows the question mark, without the parameter that is Token.
	Query []byte
	Host  []byte
	// Origin is set by browsers only; empty: there is none.
	Origin []byte
	Agent  []byte
	// Authorization is the first field of that name; nil: there is none.
	Authorization []byte
	// Token is the first parameter "token" of the query that is not empty, percent-decoded. nil: there is none, or
	// there is an Authorization, which is meant then. Rules: P-ws-5.
	Token []byte

	fields  []textField
	key     [keyLen]byte
	deflate bool       // it offers permessage-deflate
	fault   *headFault // why it cannot open a connection
}

// Field returns the first value of the field of that lower-case name, borrowed as r is.
func (r *Request) Field(name string) ([]byte, bool) {
	v, n := lookup(r.fields, name)
	return v, n > 0
}

// Deflates reports whether the client offers permessage-deflate in a way that Accept agrees to.
func (r *Request) Deflates() bool { return r.deflate }

// Opens reports whether Accept can open a connection; if not, it says why to the client.
func (r *Request) Opens() bool { return r.fault == nil }

// readHead gathers the request, or the response.
func (c *Conn) readHead(p []byte, ev Events) []byte {
	if len(c.head.buf) == 0 && !isToken(p[:1]) {
		c.notHTTP(p[0])
		return nil
	}
	p, done, fault := c.head.feed(p, c.set.MaxHead, c.set.MaxFields)
	switch {
	case fault != nil && c.role == Client:
		c.refused(&HandshakeError{Reason: fault.reason})
		return nil
	case fault != nil:
		c.refuse(fault.status, fault.reason)
		return nil
	case !done:
		return nil
	case c.role == Client:
		return c.response(p, ev)
	}
	c.request(ev)
	return p
}

// notHTTP guesses what the peer speaks from its first byte.
func (c *Conn) notHTTP(b byte) {
	reason, foreign := "what came is not HTTP/1.1", true
	switch {
	case c.role == Server && b == 0x16:
		reason = "TLS handshake; this port speaks WebSocket in the clear"
	case c.role == Client && b == 0x15: // an alert
		reason = "the server speaks TLS: dial it with wss://"
	case c.role == Client && b == 0: // of the length of SETTINGS
		reason = "the server speaks HTTP/2, as for gRPC: dial it with http://"
	default:
		foreign = false
	}
	c.refused(&HandshakeError{Reason: reason, NotHTTP: true, Foreign: foreign})
}

// request delivers the request that has come: RFC 6455 section 4.2.1.
func (c *Conn) request(ev Events) {
	r := &Request{fields: c.head.fields}
	if f := r.parseLine(c.head.start); f != nil {
		c.refuse(f.status, f.reason)
		return
	}
	var hosts int
	if r.Host, hosts = lookup(r.fields, "host"); hosts != 1 || len(r.Host) == 0 {
		c.refuse(400, "request with "+itoa(hosts)+" Host fields, or an empty one; one is due")
		return
	}
	r.Origin, _ = lookup(r.fields, "origin")
	r.Agent, _ = lookup(r.fields, "user-agent")
	switch shown, n := lookup(r.fields, "authorization"); {
	case n == 0:
		r.takeToken()
	case shown == nil:
		r.Authorization = []byte{} // it is there, and says nothing
	default:
		r.Authorization = shown
	}
	r.fault, r.deflate = r.check(c.set.Path), offersDeflate(r.fields)
	c.asked, c.step, c.showing = r, stepAsked, true
	ev.Request(r)
	c.showing = false
	clear(r.Token)
	if c.asked != nil { // the owner answers later
		*r = Request{Host: slices.Clone(r.Host), Origin: slices.Clone(r.Origin), key: r.key, deflate: r.deflate, fault: r.fault}
	}
	c.head.wipe()
}

// parseLine reads the request line: RFC 9112 section 3.
func (r *Request) parseLine(line []byte) *headFault {
	method, rest, _ := bytes.Cut(line, []byte{' '})
	target, version, _ := bytes.Cut(rest, []byte{' '})
	switch {
	case bytes.Equal(version, []byte("HTTP/2.0")):
		return &headFault{400, "HTTP/2; this port speaks WebSocket over HTTP/1.1"}
	case !isToken(method) || !isHTTP1(version) || !isTarget(target):
		return &headFault{400, "first line is not that of an HTTP/1.1 request"}
	case version[7] == '0':
		return &headFault{400, "HTTP/1.0; a WebSocket needs HTTP/1.1"}
	}
	r.Method = method
	if target[0] != '/' { // absolute-form, which every server has to accept: RFC 9112 section 3.2.2
		_, after, ok := bytes.Cut(target, []byte("://"))
		if !ok {
			return &headFault{400, "target of the request is not a path"}
		}
		at := bytes.IndexAny(after, "/?")
		if at < 0 {
			at = len(after)
		}
		target = after[at:]
	}
	if r.Path, r.Query, _ = bytes.Cut(target, []byte{'?'}); len(r.Path) == 0 {
		r.Path = []byte{'/'}
	}
	return nil
}

// takeToken moves the parameter "token" out of the query.
func (r *Request) takeToken() {
	for at := 0; at < len(r.Query); {
		end := len(r.Query)
		if n := bytes.IndexByte(r.Query[at:], '&'); n >= 0 {
			end = at + n
		}
		name, value, _ := bytes.Cut(r.Query[at:end], []byte{'='})
		if len(value) > 0 && string(percentDecode(name)) == "token" {
			r.Token = percentDecode(value)
			if at > 0 {
				r.Query = slices.Concat(r.Query[:at-1], r.Query[end:])
			} else {
				r.Query = r.Query[min(end+1, len(r.Query)):]
			}
			return
		}
		at = end + 1
	}
}

// percentDecode decodes into new memory. What is no escape stays as it is.
func percentDecode(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		if b[i] == '%' && i+2 < len(b) {
			if hi, lo := unhex(b[i+1]), unhex(b[i+2]); hi >= 0 && lo >= 0 {
				out = append(out, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		out = append(out, b[i])
	}
	return out
}

func unhex(x byte) int {
	switch {
	case '0' <= x && x <= '9':
		return int(x - '0')
	case 'a' <= x|0x20 && x|0x20 <= 'f':
		return int(x|0x20-'a') + 10
	}
	return -1
}

// check says why r cannot open a connection: RFC 6455 section 4.2.1. Rules: P-ws-2.
func (r *Request) check(path string) *headFault {
	version, versions := lookup(r.fields, "sec-websocket-version")
	key, keys := lookup(r.fields, "sec-websocket-key")
	length, lengths := lookup(r.fields, "content-length")
	_, encodings := lookup(r.fields, "transfer-encoding")
	switch {
	case string(r.Path) != path:
		return &headFault{404, "nothing is here; this listener has another path"}
	case string(r.Method) != "GET":
		return &headFault{405, "a WebSocket is opened with GET"}
	case !hasToken(r.fields, "upgrade", "websocket"):
		return &headFault{400, "not a WebSocket handshake: Upgrade does not say websocket"}
	case !hasToken(r.fields, "connection", "upgrade"):
		return &headFault{400, "not a WebSocket handshake: Connection does not say Upgrade"}
	case versions != 1 || string(version) != "13":
		return &headFault{426, "Sec-WebSocket-Version must be 13"}
	case keys != 1 || !isKey(key):
		return &headFault{400, "Sec-WebSocket-Key must be 16 bytes in base64"}
	case encodings > 0 || lengths > 0 && string(length) != "0":
		return &headFault{400, "a WebSocket handshake has no body"}
	}
	copy(r.key[:], key)
	return nil
}

// Accept answers the request that Events.Request has delivered, with fields besides those of the protocol. A request
// that cannot open a connection is refused instead, in this order: another path 404, another method 405, no upgrade
// 400, another version 426, other faults 400, the origin 403. opened says which it was. Server.
func (c *Conn) Accept(fields ...Field) (opened bool, err error) {
	r := c.asked
	switch {
	case r == nil || c.err != nil:
		return false, ErrState
	case !allowed(fields):
		return false, ErrField
	case r.fault != nil:
		c.refuse(r.fault.status, r.fault.reason)
		return false, nil
	case len(r.Origin) > 0 && c.set.AllowOrigin != nil && !c.set.AllowOrigin(r):
		c.refuse(403, "pages of this origin may not connect")
		return false, nil
	}
	accept := acceptOf(r.key[:])
	c.ctl = append(c.ctl, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"...)
	c.ctl = appendField(c.ctl, "Sec-WebSocket-Accept", accept[:])
	if r.deflate && c.set.Deflate {
		c.deflate = true
		c.ctl = appendField(c.ctl, "Sec-WebSocket-Extensions", deflateBoth)
	}
	c.ctl = append(appendFields(c.ctl, fields), "\r\n"...)
	c.asked, c.step, c.open = nil, stepFrame, true
	return true, nil
}

// Refuse answers the request that Events.Request has delivered with a status, 400 to 599, and a text that says why, ""
// for none; fields go with it. The connection is over, and Feed returns a *HandshakeError. Server.
func (c *Conn) Refuse(status int, reason string, fields ...Field) error {
	switch {
	case c.asked == nil || c.err != nil:
		return ErrState
	case !allowed(fields):
		return ErrField
	}
	c.refuse(status, reason, fields...)
	return nil
}

// refuse queues the answer and fails.
func (c *Conn) refuse(status int, reason string, fields ...Field) {
	c.ctl = append(c.ctl, "HTTP/1.1 "...)
	c.ctl = append(c.ctl, itoa(status)...)
	c.ctl = append(append(append(c.ctl, ' '), statusText(status)...), "\r\n"...)
	switch status {
	case 405:
		c.ctl = append(c.ctl, "Allow: GET\r\n"...) // RFC 9110 section 15.5.6
	case 426:
		c.ctl = append(c.ctl, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"...) // RFC 6455 section 4.2.2
	}
	c.ctl = appendField(c.ctl, "Connection", "close")
	if reason == "" {
		c.ctl = append(appendFields(appendField(c.ctl, "Content-Length", "0"), fields), "\r\n"...)
	} else {
		c.ctl = appendField(c.ctl, "Content-Type", "text/plain; charset=utf-8")
		c.ctl = appendField(c.ctl, "Content-Length", itoa(len(reason)+1))
		c.ctl = append(appendFields(c.ctl, fields), "\r\n"...)
		c.ctl = append(append(c.ctl, reason...), '\n')
	}
	c.refused(&HandshakeError{Status: status, Reason: reason})
}

// statusText is for people who read the answer; it may be empty.
func statusText(status int) string {
	switch status {
	case 400:
		return "Bad Request"
	case 401:
		return "Unauthorized"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 426:
		return "Upgrade Required"
	case 429:
		return "Too Many Requests"
	case 431:
		return "Request Header Fields Too Large"
	case 503:
		return "Service Unavailable"
	}
	return ""
}

// refused ends the handshake.
func (c *Conn) refused(e *HandshakeError) {
	if c.err == nil {
		c.err = e
	}
	c.asked, c.step = nil, stepOver
	c.forget()
}

// cutShort is for a socket that ends before the handshake does.
func (c *Conn) cutShort() {
	e := &HandshakeError{Reason: "the socket ended before the handshake was complete"}
	if c.step == stepError {
		e = c.readText()
	}
	c.refused(e)
}
