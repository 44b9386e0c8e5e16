package ws

import "bytes"

// permessage-deflate (RFC 7692), without context takeover in both directions: no connection keeps a state of it, and
// each message can be compressed and expanded by itself. The engine negotiates it, and looks after the bit that marks
// compressed messages; who has the engine compresses and expands. Rules: P-comp-8.

// bitRSV1 marks the first frame of a compressed message (RFC 7692 section 6).
const bitRSV1 = 0x40

// The offer of a client, and the answer to a good one, which may have client_no_context_takeover though the client has
// not offered that (RFC 7692 section 7.1.1.2).
const deflateBoth = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

// Deflates reports whether both ends may send compressed messages: Settings.Deflate was set, and the peer wants it, too.
func (c *Conn) Deflates() bool { return c.deflate }

// Compressed is Message for a message that is compressed: n is its length as it goes out, which is that of the blocks of
// RFC 7692 section 7.2.1. It must not be called unless the connection Deflates.
func (c *Conn) Compressed(dst []byte, kind Kind, n int) ([]byte, bool) {
	if !c.open || c.sending || !c.deflate {
		return dst, false
	}
	c.refund(n)
	if c.role == Client {
		c.sendKey = c.random()
	}
	return appendHeader(dst, opcode(kind|Deflated), true, n, c.role == Client, c.sendKey), true
}

// mayReserve reports whether a frame may begin with b0, in which reserved bits are set: RFC 7692 section 6.
func (c *Conn) mayReserve(b0 byte) bool {
	op := opcode(b0 & 0xf)
	return c.deflate && b0&bitsRSV == bitRSV1 && (op == opText || op == opBinary)
}

// offersDeflate reports whether one of the offers in a request is one that the server can accept as it is.
func offersDeflate(fields []textField) bool {
	return anyExtension(fields, func(name []byte, params []byte) bool {
		return equalFold(name, "permessage-deflate") && goodOffer(params)
	})
}

// goodOffer judges the parameters of an offer (RFC 7692 section 7.1). A window of the server's that is smaller than the
// largest is not to be had, and a parameter that is unknown, wrong or there twice makes an offer none.
func goodOffer(params []byte) bool {
	var seen [4]bool
	return eachParam(params, func(name, value []byte, has bool) bool {
		at := paramIndex(name)
		if at < 0 || seen[at] {
			return false
		}
		seen[at] = true
		switch at {
		case 0, 1:
			return !has
		case 2: // server_max_window_bits
			return has && string(value) == "15"
		}
		return !has || goodBits(value) // client_max_window_bits: any of its windows will do
	})
}

// goodAnswer judges the parameters of the answer to our offer: the server keeps no context, which we have asked for,
// and its window is one that everybody has.
func goodAnswer(params []byte) bool {
	var seen [4]bool
	ok := eachParam(params, func(name, value []byte, has bool) bool {
		at := paramIndex(name)
		if at < 0 || at == 3 || seen[at] { // client_max_window_bits was not offered
			return false
		}
		seen[at] = true
		return at != 2 && !has || at == 2 && has && goodBits(value)
	})
	return ok && seen[0]
}

func paramIndex(name []byte) int {
	for i, p := range [...]string{"server_no_context_takeover", "client_no_context_takeover", "server_max_window_bits", "client_max_window_bits"} {
		if equalFold(name, p) {
			return i
		}
	}
	return -1
}

// goodBits: 8 to 15 without a leading zero (RFC 7692 section 7.1.2.1).
func goodBits(v []byte) bool {
	return len(v) == 1 && v[0] >= '8' && v[0] <= '9' || len(v) == 2 && v[0] == '1' && v[1] >= '0' && v[1] <= '5'
}

// anyExtension reports whether f does so for an extension of a list (RFC 6455 section 9.1), which may be in several
// fields.
func anyExtension(fields []textField, f func(name, params []byte) bool) bool {
	for i := range fields {
		if !equalFold(fields[i].name, "sec-websocket-extensions") {
			continue
		}
		for rest, more := fields[i].value, true; more; {
			var item []byte
			item, rest, more = bytes.Cut(rest, []byte{','}) // no parameter that is known has a comma in quotes
			name, params, _ := bytes.Cut(item, []byte{';'})
			if f(bytes.Trim(name, " \t"), params) {
				return true
			}
		}
	}
	return false
}

// eachParam calls f for each parameter until it returns false, and reports whether it never has.
func eachParam(params []byte, f func(name, value []byte, has bool) bool) bool {
	for more := len(params) > 0; more; {
		var item []byte
		item, params, more = bytes.Cut(params, []byte{';'})
		name, value, has := bytes.Cut(item, []byte{'='})
		value = bytes.Trim(value, " \t")
		if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
			value = value[1 : n-1]
		}
		if !f(bytes.Trim(name, " \t"), value, has) {
			return false
		}
	}
	return true
}
