package ws

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"strconv"
)

// maxRefusalText is how much of the text of a server's refusal is kept, in bytes.
const maxRefusalText = 512

// Upgrade is what a client asks for.
type Upgrade struct {
	// Host is the authority of the endpoint, without user and password: "host:port".
	Host string
	// Path is the path with the query, as it is sent; "": /.
	Path string
	// Origin is left out if it is empty.
	Origin string
	// Agent is the User-Agent; left out if it is empty.
	Agent string
	// Fields are further fields. None may be Reserved.
	Fields []Field
}

// Upgrade queues the request: RFC 6455 section 4.1. It is called once, before Feed. Client.
func (c *Conn) Upgrade(u *Upgrade) error {
	path := u.Path
	if path == "" {
		path = "/"
	}
	switch {
	case c.role != Client || c.key != [keyLen]byte{} || c.err != nil:
		return ErrState
	case c.rand == nil:
		return ErrSeed
	case !isTarget(path) || path[0] != '/' || !isTarget(u.Host):
		return ErrTarget
	case !allowed(u.Fields) || !isValue(u.Origin) || !isValue(u.Agent):
		return ErrField
	}
	var nonce [16]byte
	binary.LittleEndian.PutUint64(nonce[:], c.rand.Uint64())
	binary.LittleEndian.PutUint64(nonce[8:], c.rand.Uint64())
	base64.StdEncoding.Encode(c.key[:], nonce[:])
	c.ctl = append(append(append(c.ctl, "GET "...), path...), " HTTP/1.1\r\n"...)
	c.ctl = appendField(c.ctl, "Host", u.Host)
	c.ctl = append(c.ctl, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"...)
	c.ctl = appendField(c.ctl, "Sec-WebSocket-Key", c.key[:])
	if u.Agent != "" {
		c.ctl = appendField(c.ctl, "User-Agent", u.Agent)
	}
	if u.Origin != "" {
		c.ctl = appendField(c.ctl, "Origin", u.Origin)
	}
	if c.set.Deflate {
		c.ctl = appendField(c.ctl, "Sec-WebSocket-Extensions", deflateBoth)
	}
	c.ctl = append(appendFields(c.ctl, u.Fields), "\r\n"...)
	return nil
}

// Response is the server's answer that opened the connection.
type Response struct{ fields []textField }

// Field returns the first value of the field of that lower-case name, borrowed as r is.
func (r *Response) Field(name string) ([]byte, bool) {
	v, n := lookup(r.fields, name)
	return v, n > 0
}

// response judges the head that has come: RFC 6455 section 4.1. Rules: P-ws-3.
func (c *Conn) response(p []byte, ev Events) []byte {
	h := &c.head
	version, rest, _ := bytes.Cut(h.start, []byte{' '})
	code, phrase, _ := bytes.Cut(rest, []byte{' '})
	status, err := strconv.Atoi(string(code))
	if !isHTTP1(version) || err != nil || status < 100 || len(code) != 3 {
		c.refused(&HandshakeError{Reason: "first line of the answer is not that of an HTTP/1.1 response"})
		return nil
	}
	switch {
	case status == 101:
		return c.switched(p, ev)
	case status < 200: // RFC 9110 section 15.2; they share one bound
		h.next()
		return p
	}
	c.refusedBy = status
	c.refusal = "the server answers " + string(code)
	if isValue(phrase) && len(phrase) > 0 {
		c.refusal += " " + cutText(string(phrase), 64)
	}
	if status/100 == 3 {
		c.refusal += redirection(h.fields)
	}
	c.textLeft = textLength(h.fields)
	c.head.wipe()
	if c.step = stepError; c.textLeft == 0 {
		c.refused(c.readText())
	}
	return p
}

// redirection says where an answer sends the client, which does not follow it: the configuration would not say any more
// where a node connects to. The query may hold a token.
func redirection(fields []textField) string {
	to, n := lookup(fields, "location")
	to, _, _ = bytes.Cut(to, []byte{'?'})
	if n == 0 || !isTarget(to) {
		return ""
	}
	return ", to " + cutText(string(to), maxLocation) + ", which is not followed"
}

// maxLocation is how much of a redirection's target is told, in bytes.
const maxLocation = 256

// textLength returns how much of the body is worth waiting for: nothing of one that is in chunks.
func textLength(fields []textField) int {
	length, n := lookup(fields, "content-length")
	if n == 0 {
		if _, n = lookup(fields, "transfer-encoding"); n > 0 {
			return 0
		}
		return maxRefusalText // until the socket ends
	}
	v, err := strconv.ParseUint(string(length), 10, 63)
	if err != nil {
		return 0
	}
	return int(min(v, maxRefusalText))
}

// switched checks the answer that says yes.
func (c *Conn) switched(p []byte, ev Events) []byte {
	f := c.head.fields
	want := acceptOf(c.key[:])
	accept, accepts := lookup(f, "sec-websocket-accept")
	deflate, fault := c.extensions(f)
	_, protocols := lookup(f, "sec-websocket-protocol")
	var reason string
	switch {
	case !hasToken(f, "upgrade", "websocket"):
		reason = "the server's Upgrade does not say websocket"
	case !hasToken(f, "connection", "upgrade"):
		reason = "the server's Connection does not say Upgrade"
	case accepts != 1 || !bytes.Equal(accept, want[:]):
		reason = "the server's Sec-WebSocket-Accept does not fit our key: it may be an answer from a cache"
	case fault != "":
		reason = fault
	case protocols > 0:
		reason = "the server names a subprotocol that was not offered"
	}
	if reason != "" {
		c.refused(&HandshakeError{Status: 101, Reason: reason})
		return nil
	}
	c.step, c.open, c.deflate = stepFrame, true, deflate
	c.showing = true
	ev.Response(&Response{fields: f})
	c.showing = false
	c.head.wipe()
	return p
}

// extensions judges those that the server uses.
func (c *Conn) extensions(f []textField) (deflate bool, fault string) {
	anyExtension(f, func(name, params []byte) bool {
		switch {
		case len(name) == 0 && len(params) == 0:
		case !c.set.Deflate || deflate || !equalFold(name, "permessage-deflate"):
			fault = "the server uses an extension that was not offered"
		case !goodAnswer(params):
			fault = "the server's parameters of permessage-deflate are not what was offered"
		default:
			deflate = true
		}
		return fault != ""
	})
	return deflate, fault
}

// readRefusal gathers the text of the refusal.
func (c *Conn) readRefusal(p []byte) []byte {
	n := min(len(p), c.textLeft-len(c.head.buf))
	if c.head.buf = append(c.head.buf, p[:n]...); len(c.head.buf) == c.textLeft {
		c.refused(c.readText())
	}
	return nil
}

// readText returns what the server has said.
func (c *Conn) readText() *HandshakeError {
	text := bytes.TrimSpace(c.head.buf)
	return &HandshakeError{Status: c.refusedBy, Reason: c.refusal, Text: cutText(string(text), maxRefusalText)}
}
