package mls

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
)

// Extension is one entry of a list of extensions (RFC 9420, section 13.4).
type Extension struct {
	Type ExtensionType
	Data []byte
}

// Extensions is a list of them, each type at most once.
type Extensions []Extension

// Find returns the data of an extension.
func (e Extensions) Find(t ExtensionType) ([]byte, bool) {
	for _, x := range e {
		if x.Type == t {
			return x.Data, true
		}
	}
	return nil, false
}

func (e Extensions) append(dst []byte) []byte {
	return codec.AppendVector(dst, func(dst []byte) []byte {
		for _, x := range e {
			dst = binary.BigEndian.AppendUint16(dst, uint16(x.Type))
			dst = codec.AppendOpaque(dst, x.Data)
		}
		return dst
	})
}

var errTwice = errors.New("an extension type stands in a list twice")

// What one list may hold. There is no use for more, some loops take the square of it, and elements take more room when
// they are decoded.
const (
	maxExtensions   = 256
	maxSenders      = 1 << 10
	maxCertificates = 64
	maxPSKs         = 1 << 10
	maxProposals    = 1 << 17
	maxRecipients   = 1 << 17 // of a welcome, and of all nodes of an update path together
	maxNumbers      = 1 << 16 // of 16 bits: there are not more
)

// check refuses a list that others could not read.
func (e Extensions) check() error {
	if len(e) > maxExtensions {
		return refuse(Limit, "13.4", "%d extensions in a list, at most %d are allowed", len(e), maxExtensions)
	}
	for i, x := range e {
		if _, twice := e[:i].Find(x.Type); twice {
			return refuse(Invalid, "13.4", "%v stands in a list of extensions twice", x.Type)
		}
	}
	return nil
}

// checkContextExtensions: extensions of a group context can be read, those whose contents matter to this package too.
// Values that mean nothing are not among them: our own leaf may list them, and supports them no more for that (section
// 13.5).
func checkContextExtensions(e Extensions) error {
	if err := e.check(); err != nil {
		return err
	}
	for _, x := range e {
		if isGREASE(x.Type) {
			return refuse(Invalid, "13.5", "%v in a group context: nobody supports it", x.Type)
		}
	}
	q, err := requiredCapabilities(e)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(q.Extensions, isGREASE) || slices.ContainsFunc(q.Proposals, isGREASE) || slices.ContainsFunc(q.Credentials, isGREASE) {
		return refuse(Invalid, "13.5", "required_capabilities ask for a value that means nothing: nobody supports it")
	}
	_, err = externalSenders(e)
	return err
}

// checkContextPlaces: the extensions of a group context belong there (section 17.3).
func checkContextPlaces(e Extensions) error {
	for _, x := range e {
		switch x.Type {
		case ExtensionApplicationID, ExtensionRatchetTree, ExtensionExternalPub:
			return refuse(Invalid, "17.3", "%v in a group context, where it does not belong", x.Type)
		}
	}
	return nil
}

func readExtensions(r *codec.Reader) Extensions {
	var e Extensions
	r.Vector(maxExtensions, func(r *codec.Reader) {
		x := Extension{Type: ExtensionType(r.Uint16()), Data: r.Opaque()}
		if _, twice := e.Find(x.Type); twice {
			r.Fail(errTwice)
		}
		e = append(e, x)
	})
	return e
}

// RequiredCapabilities is the extension that says what all members of a group must support (section 11.1).
type RequiredCapabilities struct {
	Extensions  []ExtensionType
	Proposals   []ProposalType
	Credentials []CredentialType
}

// Extension is its place in a list. Where there are more numbers than 16 bits can tell apart, no group takes it.
func (q RequiredCapabilities) Extension() Extension {
	b := appendList(nil, readable(q.Extensions, maxNumbers))
	b = appendList(b, readable(q.Proposals, maxNumbers))
	return Extension{ExtensionRequiredCapabilities, appendList(b, readable(q.Credentials, maxNumbers))}
}

// readable is list, or as much of one that is too long as nobody reads either.
func readable[T any](list []T, most int) []T { return list[:min(len(list), most+1)] }

// requiredCapabilities finds the extension in a group's list; the zero value requires nothing.
func requiredCapabilities(e Extensions) (RequiredCapabilities, error) {
	b, ok := e.Find(ExtensionRequiredCapabilities)
	if !ok {
		return RequiredCapabilities{}, nil
	}
	r := codec.NewReader(b)
	q := RequiredCapabilities{readList[ExtensionType](r), readList[ProposalType](r), readList[CredentialType](r)}
	if err := r.Finish(); err != nil {
		return q, malformed(err, "required_capabilities extension")
	}
	return q, nil
}

// ExternalSender may send proposals to a group that it is no member of (section 12.1.8.1).
type ExternalSender struct {
	SignatureKey []byte
	Credential   Credential
}

func (s ExternalSender) append(dst []byte) []byte {
	return s.Credential.append(codec.AppendOpaque(dst, s.SignatureKey))
}

// ExternalSenders is the extension that lists them. Of more than 1,024 of them, or 128 MiB, it is one that no group
// takes.
func ExternalSenders(senders ...ExternalSender) Extension {
	senders = readable(senders, maxSenders)
	n := 0
	for i := range senders {
		if n += len(senders[i].SignatureKey) + senders[i].Credential.length(); n > maxMessage {
			return Extension{Type: ExtensionExternalSenders} // does not decode
		}
	}
	return Extension{ExtensionExternalSenders, codec.AppendVector(nil, func(dst []byte) []byte {
		for _, s := range senders {
			dst = s.append(dst)
		}
		return dst
	})}
}

// externalSenders finds the extension in a group's list.
func externalSenders(e Extensions) ([]ExternalSender, error) {
	b, ok := e.Find(ExtensionExternalSenders)
	if !ok {
		return nil, nil
	}
	var senders []ExternalSender
	r := codec.NewReader(b)
	r.Vector(maxSenders, func(r *codec.Reader) {
		senders = append(senders, ExternalSender{SignatureKey: r.Opaque(), Credential: readCredential(r)})
	})
	if err := r.Finish(); err != nil {
		return nil, malformed(err, "external_senders extension")
	}
	return senders, nil
}

// externalPub finds the public key for external joins (section 12.4.3.2).
func externalPub(e Extensions) ([]byte, error) {
	b, ok := e.Find(ExtensionExternalPub)
	if !ok {
		return nil, refuse(Missing, "12.4.3.2", "the group info has no external_pub extension: it was not made for external joins")
	}
	r := codec.NewReader(b)
	pub := r.Opaque()
	if err := r.Finish(); err != nil {
		return nil, malformed(err, "external_pub extension")
	}
	return pub, nil
}

// appendList appends a vector of 16-bit numbers.
func appendList[T ~uint16](dst []byte, list []T) []byte {
	dst = codec.AppendVarint(dst, 2*len(list))
	for _, v := range list {
		dst = binary.BigEndian.AppendUint16(dst, uint16(v))
	}
	return dst
}

func readList[T ~uint16](r *codec.Reader) []T {
	var list []T
	r.Vector(maxNumbers, func(r *codec.Reader) { list = append(list, T(r.Uint16())) })
	return list
}

func externalPubExtension(pub []byte) Extension {
	return Extension{ExtensionExternalPub, codec.AppendOpaque(nil, pub)}
}
