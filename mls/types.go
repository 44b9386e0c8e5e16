package mls

import (
	"fmt"

	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
	"github.com/seed31b3bfd0/slimgo/mls/internal/treemath"
)

// ProtocolVersion is the version of MLS (RFC 9420, section 6).
type ProtocolVersion uint16

// MLS10 is the only version there is.
const MLS10 ProtocolVersion = 1

// CipherSuite is the number of a cipher suite (section 17.1).
type CipherSuite = suite.ID

// The cipher suites of this package. The last is a private number of the Rust library mls-rs: ML-KEM-768 and X25519 as one KEM.
const (
	X25519AES128SHA256Ed25519   = suite.X25519AES128SHA256Ed25519   // 1
	P256AES128SHA256P256        = suite.P256AES128SHA256P256        // 2
	X25519ChaCha20SHA256Ed25519 = suite.X25519ChaCha20SHA256Ed25519 // 3
	X448AES256SHA512Ed448       = suite.X448AES256SHA512Ed448       // 4
	P521AES256SHA512P521        = suite.P521AES256SHA512P521        // 5
	X448ChaCha20SHA512Ed448     = suite.X448ChaCha20SHA512Ed448     // 6
	P384AES256SHA384P384        = suite.P384AES256SHA384P384        // 7
	MLKEM768X25519AES128Ed25519 = suite.MLKEM768X25519AES128Ed25519 // 65100
)

// CipherSuites are the numbers of all suites of this package, ascending.
func CipherSuites() []CipherSuite { return suite.All() }

// LeafIndex is the place of a member in the tree, from 0. It stays with the member as long as it is in the group.
type LeafIndex = treemath.Leaf

// WireFormat says what an MLSMessage holds (section 17.2).
type WireFormat uint16

// The wire formats.
const (
	WirePublicMessage  WireFormat = 1
	WirePrivateMessage WireFormat = 2
	WireWelcome        WireFormat = 3
	WireGroupInfo      WireFormat = 4
	WireKeyPackage     WireFormat = 5
)

// String is the registered name.
func (w WireFormat) String() string {
	return name(uint16(w), "wire format", "", "mls_public_message", "mls_private_message", "mls_welcome", "mls_group_info", "mls_key_package")
}

// ContentType says what a framed content holds (section 6).
type ContentType uint8

// The content types.
const (
	ContentApplication ContentType = 1
	ContentProposal    ContentType = 2
	ContentCommit      ContentType = 3
)

// String is the name of the RFC.
func (c ContentType) String() string {
	return name(uint16(c), "content type", "", "application", "proposal", "commit")
}

// SenderType says who sent a framed content (section 6).
type SenderType uint8

// The sender types.
const (
	SenderMember            SenderType = 1
	SenderExternal          SenderType = 2
	SenderNewMemberProposal SenderType = 3
	SenderNewMemberCommit   SenderType = 4
)

// String is the name of the RFC.
func (s SenderType) String() string {
	return name(uint16(s), "sender type", "", "member", "external", "new_member_proposal", "new_member_commit")
}

// CredentialType is a registered kind of credential (section 17.5).
type CredentialType uint16

// The credential types of the RFC.
const (
	CredentialBasic CredentialType = 1
	CredentialX509  CredentialType = 2
)

// String is the registered name.
func (c CredentialType) String() string {
	return name(uint16(c), "credential type", "", "basic", "x509")
}

// ExtensionType is a registered kind of extension (section 17.3).
type ExtensionType uint16

// The extension types of the RFC.
const (
	ExtensionApplicationID        ExtensionType = 1
	ExtensionRatchetTree          ExtensionType = 2
	ExtensionRequiredCapabilities ExtensionType = 3
	ExtensionExternalPub          ExtensionType = 4
	ExtensionExternalSenders      ExtensionType = 5
)

// String is the registered name.
func (e ExtensionType) String() string {
	return name(uint16(e), "extension type", "", "application_id", "ratchet_tree", "required_capabilities", "external_pub", "external_senders")
}

// isDefault reports whether all clients have it, so that capabilities do not list it (section 7.2).
func (e ExtensionType) isDefault() bool { return e >= 1 && e <= 5 }

// ProposalType is a registered kind of proposal (section 17.4).
type ProposalType uint16

// The proposal types of the RFC.
const (
	ProposalAdd                    ProposalType = 1
	ProposalUpdate                 ProposalType = 2
	ProposalRemove                 ProposalType = 3
	ProposalPSK                    ProposalType = 4
	ProposalReInit                 ProposalType = 5
	ProposalExternalInit           ProposalType = 6
	ProposalGroupContextExtensions ProposalType = 7
)

// String is the registered name.
func (p ProposalType) String() string {
	return name(uint16(p), "proposal type", "", "add", "update", "remove", "psk", "reinit", "external_init", "group_context_extensions")
}

// isGREASE reports whether v is one of the values that mean nothing (section 13.5).
func isGREASE[T ~uint16](v T) bool { return v&0x0f0f == 0x0a0a && v>>8 == v&0xff && v>>8 != 0xfa }

// isDefault reports whether all clients have it.
func (p ProposalType) isDefault() bool { return p >= 1 && p <= 7 }

// name is the name of v if it has one.
func name(v uint16, what string, names ...string) string {
	if int(v) < len(names) && names[v] != "" {
		return names[v]
	}
	return fmt.Sprintf("%s %#04x", what, v)
}

// greaseValue is the i-th, modulo 15, of the values that mean nothing and are sent to keep receivers honest (section 13.5).
func greaseValue(i byte) uint16 {
	v := uint16(i%15)<<4 | 0x0a
	return v<<8 | v
}
