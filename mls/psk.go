package mls

import (
	"encoding/binary"
	"errors"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
)

// PSKType is where a pre-shared key comes from (RFC 9420, section 8.4).
type PSKType uint8

// The types.
const (
	PSKExternal   PSKType = 1 // from the application
	PSKResumption PSKType = 2 // from an epoch of a group
)

// PSKUsage is what a resumption key is for.
type PSKUsage uint8

// The usages.
const (
	UsageApplication PSKUsage = 1
	UsageReInit      PSKUsage = 2
	UsageBranch      PSKUsage = 3
)

// String is the name of the RFC.
func (u PSKUsage) String() string {
	return name(uint16(u), "usage", "", "application", "reinit", "branch")
}

// PSKID names a pre-shared key and makes its use unique.
type PSKID struct {
	Type    PSKType
	ID      []byte   // of an external key
	Usage   PSKUsage // the rest is of a resumption key
	GroupID []byte
	Epoch   uint64
	Nonce   []byte // Nh random bytes
}

func (p *PSKID) append(dst []byte) []byte {
	dst = append(dst, byte(p.Type))
	if p.Type == PSKResumption {
		dst = codec.AppendOpaque(append(dst, byte(p.Usage)), p.GroupID)
		dst = binary.BigEndian.AppendUint64(dst, p.Epoch)
	} else {
		dst = codec.AppendOpaque(dst, p.ID)
	}
	return codec.AppendOpaque(dst, p.Nonce)
}

var errPSK = errors.New("type or usage of a pre-shared key is not known")

func readPSKID(r *codec.Reader) PSKID {
	p := PSKID{Type: PSKType(r.Uint8())}
	switch p.Type {
	case PSKExternal:
		p.ID = r.Opaque()
	case PSKResumption:
		p.Usage = PSKUsage(r.Uint8())
		if p.Usage < UsageApplication || p.Usage > UsageBranch {
			r.Fail(errPSK)
		}
		p.GroupID, p.Epoch = r.Opaque(), r.Uint64()
	default:
		r.Fail(errPSK)
	}
	p.Nonce = r.Opaque()
	return p
}

// pskSecret mixes keys in order (section 8.4); none give zeros.
func pskSecret(s *suite.Suite, out *suite.Secret, ids []PSKID, keys [][]byte) {
	zero := make([]byte, s.HashSize())
	out.Set(zero)
	var extracted, input suite.Secret
	defer extracted.Wipe()
	defer input.Wipe()
	for i := range ids {
		label := ids[i].append(nil)
		label = binary.BigEndian.AppendUint16(label, uint16(i))
		label = binary.BigEndian.AppendUint16(label, uint16(len(ids)))
		s.Extract(&extracted, zero, keys[i])
		s.ExpandSecret(&input, &extracted, "derived psk", label)
		s.Extract(out, input.Bytes(), out.Bytes())
	}
}
