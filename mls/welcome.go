package mls

import (
	"encoding/binary"
	"io"

	"github.com/seed31b3bfd0/slimgo/mls/internal/codec"
	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
)

// groupContext is GroupContext (RFC 9420, section 8.1).
type groupContext struct {
	suite         CipherSuite
	groupID       []byte
	epoch         uint64
	treeHash      []byte
	confirmedHash []byte // of the transcript
	extensions    Extensions
}

func (c *groupContext) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(MLS10))
	dst = binary.BigEndian.AppendUint16(dst, uint16(c.suite))
	dst = codec.AppendOpaque(dst, c.groupID)
	dst = binary.BigEndian.AppendUint64(dst, c.epoch)
	dst = codec.AppendOpaque(dst, c.treeHash)
	dst = codec.AppendOpaque(dst, c.confirmedHash)
	return c.extensions.append(dst)
}

func readGroupContext(r *codec.Reader) groupContext {
	version := ProtocolVersion(r.Uint16())
	c := groupContext{suite: CipherSuite(r.Uint16()), groupID: r.Opaque(), epoch: r.Uint64(), treeHash: r.Opaque(), confirmedHash: r.Opaque(),
		extensions: readExtensions(r)}
	if r.Err() == nil && version != MLS10 {
		r.Fail(refuse(Unsupported, "8.1", "group of protocol version %d", version))
	}
	return c
}

// groupInfo is GroupInfo (section 12.4.3).
type groupInfo struct {
	context         groupContext
	extensions      Extensions
	confirmationTag []byte
	signer          LeafIndex
	signature       []byte
}

func (g *groupInfo) appendUnsigned(dst []byte) []byte {
	dst = g.extensions.append(g.context.append(dst))
	dst = codec.AppendOpaque(dst, g.confirmationTag)
	return binary.BigEndian.AppendUint32(dst, uint32(g.signer))
}

func (g *groupInfo) append(dst []byte) []byte {
	return codec.AppendOpaque(g.appendUnsigned(dst), g.signature)
}

func readGroupInfo(r *codec.Reader) *groupInfo {
	return &groupInfo{readGroupContext(r), readExtensions(r), r.Opaque(), LeafIndex(r.Uint32()), r.Opaque()}
}

const groupInfoLabel = "GroupInfoTBS"

func (g *groupInfo) sign(s *suite.Suite, rand io.Reader, key *suite.SigningKey) (err error) {
	g.signature, err = s.SignWithLabel(rand, key, groupInfoLabel, g.appendUnsigned(nil))
	return err
}

// checkSignature verifies with the key of the member who made it (section 12.4.3.1).
func (g *groupInfo) checkSignature(s *suite.Suite, signer *LeafNode) error {
	if signer == nil {
		return refuse(Invalid, "12.4.3.1", "group info is signed by leaf %d, which is blank", g.signer)
	}
	v, err := signer.verifier(s)
	if err != nil {
		return err
	}
	if !s.VerifyWithLabel(v, groupInfoLabel, g.appendUnsigned(nil), g.signature) {
		return refuse(BadSignature, "12.4.3.1", "signature of a group info by leaf %d does not verify", g.signer)
	}
	return nil
}

// welcome is Welcome (section 12.4.3.1).
type welcome struct {
	suite     CipherSuite
	secrets   []welcomeSecrets
	groupInfo []byte // encrypted
}

// welcomeSecrets is EncryptedGroupSecrets: the part for one new member.
type welcomeSecrets struct {
	newMember []byte // reference of its key package
	secrets   hpkeCiphertext
}

func (w *welcome) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(w.suite))
	dst = codec.AppendVector(dst, func(dst []byte) []byte {
		for _, s := range w.secrets {
			dst = s.secrets.append(codec.AppendOpaque(dst, s.newMember))
		}
		return dst
	})
	return codec.AppendOpaque(dst, w.groupInfo)
}

func readWelcome(r *codec.Reader) *welcome {
	w := &welcome{suite: CipherSuite(r.Uint16())}
	r.Vector(maxRecipients, func(r *codec.Reader) {
		w.secrets = append(w.secrets, welcomeSecrets{r.Opaque(), readHPKECiphertext(r)})
	})
	w.groupInfo = r.Opaque()
	return w
}

const welcomeLabel = "Welcome"

// groupSecrets is GroupSecrets: what a welcome tells each new member.
type groupSecrets struct {
	joiner []byte
	path   []byte // secret of the lowest node that covers both; nil: the commit had no path
	psks   []PSKID
}

func (g *groupSecrets) append(dst []byte) []byte {
	dst = codec.AppendOpaque(dst, g.joiner)
	dst = codec.AppendOptional(dst, g.path != nil)
	if g.path != nil {
		dst = codec.AppendOpaque(dst, g.path)
	}
	return codec.AppendVector(dst, func(dst []byte) []byte {
		for i := range g.psks {
			dst = g.psks[i].append(dst)
		}
		return dst
	})
}

func (g *groupSecrets) wipe() {
	clear(g.joiner)
	clear(g.path)
}

func readGroupSecrets(r *codec.Reader) *groupSecrets {
	g := &groupSecrets{joiner: r.Opaque()}
	if r.Optional() {
		g.path = r.Opaque()
	}
	r.Vector(maxPSKs, func(r *codec.Reader) { g.psks = append(g.psks, readPSKID(r)) })
	return g
}
