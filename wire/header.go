package wire

// Tags of SLIMHeader.
const (
	tagSource      = 1<<3 | wireBytes
	tagDestination = 2<<3 | wireBytes
	tagIdentity    = 3<<3 | wireBytes
	tagFanout      = 4<<3 | wireVarint
	tagVersion     = 5<<3 | wireBytes
	tagTTL         = 6<<3 | wireVarint
	tagRecvFrom    = 7<<3 | wireVarint
	tagForwardTo   = 8<<3 | wireVarint
	tagIncoming    = 9<<3 | wireVarint
	tagError       = 10<<3 | wireVarint
	tagMAC         = 11<<3 | wireBytes
	tagSignature   = 12<<3 | wireBytes // e2e_header_sig
	lastHeader     = 12
)

// hopFields has the bits of the fields that belong to one hop and do not go on as they came.
const hopFields = 1<<(tagTTL>>3) | 1<<(tagRecvFrom>>3) | 1<<(tagForwardTo>>3) | 1<<(tagIncoming>>3) | 1<<(tagMAC>>3)

// Values of Header.Error.
const (
	ErrorAbsent uint8 = iota
	ErrorFalse
	ErrorTrue
)

// Header is a parsed SLIMHeader. Spans count from the first byte of the header's content, Message.Header.Of(b). No
// pointers: it stays true for any copy of those bytes.
type Header struct {
	Source, Dest NameRef
	Identity     Span   // identity token, UTF-8
	MAC          Span   // header_mac as it came, of any length
	Fanout, TTL  uint32 // fanout 1: one receiver, any other: all. ttl: hops left
	Names        uint32 // length of the leading bytes if they are exactly one source and then one destination; else 0

	RecvFrom, ForwardTo uint64

	// Keep[:NKeep] are the runs of fields that go on unchanged, in order: everything, known or not, except the hop's own
	// ttl, recv_from, forward_to, incoming_conn and header_mac.
	Keep  [6]Span
	NKeep uint8

	Error                             uint8 // ErrorAbsent, ErrorFalse, ErrorTrue
	HasRecvFrom, HasForwardTo, HasMAC bool

	// Odd: a field occurs twice, or there are more runs than Keep holds; Keep is then not to be used. The values are
	// right. Write the message anew with Normalise.
	Odd bool
}

// ParseHeader reads the content h of a SLIMHeader. h is borrowed until return; hd is overwritten, and meaningless after
// an error, which means that the message does not decode.
func ParseHeader(h []byte, hd *Header) error {
	hd.reset()
	hd.Names = 0
	if len(h) > maxMessage {
		return ErrTooLarge
	}
	n, err := parseNames(h, hd)
	if err != nil {
		return err
	}
	if n == 0 {
		hd.Source.clear()
		hd.Dest.clear()
		return hd.fields(h, 0, 0)
	}
	hd.Names = uint32(n)
	return hd.fields(h, n, 1<<1|1<<2)
}

// ParseRest is ParseHeader for a header whose first hd.Names bytes are known to equal those that hd.Source and hd.Dest
// were parsed from: these three are taken as they are, everything else is overwritten. hd.Names must not be zero. It
// may be called again with the same hd unless the result was Odd or an error.
func ParseRest(h []byte, hd *Header) error {
	if len(h) > maxMessage {
		return ErrTooLarge
	}
	if int(hd.Names) > len(h) {
		return ErrTruncated
	}
	hd.reset()
	return hd.fields(h, int(hd.Names), 1<<1|1<<2)
}

// reset clears all but the names. Keep needs no clearing: NKeep bounds it.
func (hd *Header) reset() {
	hd.Identity, hd.MAC = Span{}, Span{}
	hd.Fanout, hd.TTL = 0, 0
	hd.RecvFrom, hd.ForwardTo = 0, 0
	hd.NKeep, hd.Error = 0, ErrorAbsent
	hd.HasRecvFrom, hd.HasForwardTo, hd.HasMAC, hd.Odd = false, false, false, false
}

// parseNames reads source and destination if the header begins with them, as all known writers do, and returns their
// length. 0: it begins otherwise, and nothing was read.
func parseNames(h []byte, hd *Header) (int, error) {
	if len(h) == 0 || h[0] != tagSource {
		return 0, nil
	}
	s, sEnd := chunk(h, 1)
	if sEnd < 0 || sEnd == len(h) || h[sEnd] != tagDestination {
		return 0, nil
	}
	d, dEnd := chunk(h, sEnd+1)
	if dEnd < 0 {
		return 0, nil
	}
	if err := hd.Source.parse(h, s, sEnd); err != nil {
		return 0, err
	}
	return dEnd, hd.Dest.parse(h, d, dEnd)
}

// fields reads the fields at h[i:]. seen has a bit for each field number that came before; what came before is kept.
func (hd *Header) fields(h []byte, i int, seen uint32) error {
	run := 0 // where the current run of kept fields began
	for i < len(h) {
		at, tag := i, h[i]
		i++
		if tag >= 0x80 {
			var err error
			if tag, i, err = longKey(h, at, depthPart); err != nil {
				return err
			}
		}
		var from, to int
		var v uint64
		switch tag & 7 {
		case wireVarint:
			if i < len(h) && h[i] < 0x80 {
				v = uint64(h[i])
				i++
			} else if v, i = varint(h, i); i < 0 {
				return failure(i)
			}
		case wireBytes:
			var ok bool
			if from, to, ok = one(h, i, len(h)); !ok {
				if from, to = chunk(h, i); to < 0 {
					return failure(to)
				}
			}
			i = to
		default:
			if tag != passed {
				var err error
				if i, err = unknown(h, tag, i, lastHeader, depthPart); err != nil {
					return err
				}
			}
			continue
		}
		switch tag {
		case tagSource:
			if err := hd.Source.merge(h, from, to); err != nil {
				return err
			}
		case tagDestination:
			if err := hd.Dest.merge(h, from, to); err != nil {
				return err
			}
		case tagIdentity:
			hd.Identity = Span{uint32(from), uint32(to)}
			if !validUTF8(h[from:to]) {
				return ErrUTF8
			}
		case tagVersion:
			if !validUTF8(h[from:to]) {
				return ErrUTF8
			}
		case tagFanout:
			hd.Fanout = uint32(v) // protobuf truncates
		case tagTTL:
			hd.TTL = uint32(v)
		case tagRecvFrom:
			hd.HasRecvFrom, hd.RecvFrom = true, v
		case tagForwardTo:
			hd.HasForwardTo, hd.ForwardTo = true, v
		case tagError:
			hd.Error = ErrorFalse
			if v != 0 {
				hd.Error = ErrorTrue
			}
		case tagMAC:
			hd.HasMAC, hd.MAC = true, Span{uint32(from), uint32(to)}
		case tagIncoming, tagSignature:
		default: // passed over already; it may have been wrong all the same
			if tag>>3 <= lastHeader {
				_, err := unknown(h, tag, i, lastHeader, depthPart)
				return err
			}
			continue
		}
		bit := uint32(1) << (tag >> 3)
		if seen&bit != 0 {
			hd.Odd = true
		}
		seen |= bit
		if bit&hopFields != 0 {
			hd.keep(run, at)
			run = i
		}
	}
	hd.keep(run, i)
	return nil
}

// keep adds the run h[from:to] to Keep.
func (hd *Header) keep(from, to int) {
	switch {
	case from == to:
	case int(hd.NKeep) < len(hd.Keep):
		hd.Keep[hd.NKeep] = Span{uint32(from), uint32(to)}
		hd.NKeep++
	default:
		hd.Odd = true
	}
}
