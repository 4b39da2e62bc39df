package exactly

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
)

// OffsetOutOfRangeError says that records the group has not read are gone (or
// were never there: the topic was truncated). Nothing is skipped: set the
// group's offset to Earliest to accept the loss.
type OffsetOutOfRangeError struct {
	Topic     string
	Partition int32
	Committed int64 // next offset the group wants
	Earliest  int64 // first offset the broker has
	Latest    int64 // offset after the last one the broker has
}

func (e *OffsetOutOfRangeError) Error() string {
	return fmt.Sprintf("exactly: read %s/%d: committed offset %d is outside of the log [%d, %d): set the group's offset to accept the loss (kafka-consumer-groups --reset-offsets)",
		e.Topic, e.Partition, e.Committed, e.Earliest, e.Latest)
}

// MissingOffsetError says that a partition has no committed offset though its
// changelog has data, so that its state was built from records which would now
// be counted again.
type MissingOffsetError struct {
	Group     string
	Table     string
	Partition int32
}

func (e *MissingOffsetError) Error() string {
	return fmt.Sprintf("exactly: assign partition %d of group %s: no committed offset, but changelog %s has data: set the offsets (kafka-consumer-groups --group %s --reset-offsets), or delete the topic %s to start anew",
		e.Partition, e.Group, e.Table, e.Group, e.Table)
}

// OversizeError refuses an emit larger than Config.MaxMessageBytes. Callbacks
// can ask CheckSize first and emit something smaller.
type OversizeError struct {
	Topic string
	Key   string
	Bytes int
	Max   int
}

func (e *OversizeError) Error() string {
	return fmt.Sprintf("exactly: emit to %s: record of %d bytes is over the limit of %d", e.Topic, e.Bytes, e.Max)
}

// MisroutedError refuses a table write under a key that belongs to another
// partition: goka would write its changelog there and lose it on recovery.
type MisroutedError struct {
	Table string
	Key   string
	Got   int32 // partition of the input record
	Want  int32 // partition of the key
}

func (e *MisroutedError) Error() string {
	return fmt.Sprintf("exactly: write key %q to %s: the record came on partition %d, but its key belongs to %d: re-key it by way of a topic", e.Key, e.Table, e.Got, e.Want)
}

// TooSlowError says that one record alone exceeds the transaction timeout, and
// that its callback was too slow again when it was told so (see TooSlow).
type TooSlowError struct {
	Topic     string
	Partition int32
	Offset    int64
}

func (e *TooSlowError) Error() string {
	return fmt.Sprintf("exactly: process %s/%d offset %d: the record alone exceeds the transaction timeout", e.Topic, e.Partition, e.Offset)
}

// LockedError says that another process uses the same instance.
type LockedError struct {
	Dir string
	PID string // "unknown" if it did not write one
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("exactly: lock %s: in use by process %s", e.Dir, e.PID)
}

// TopicError says that a topic is missing or not as the graph needs it.
type TopicError struct {
	Topic  string
	Reason string
	// Missing topics may still appear: Run waits a while for them.
	Missing bool
}

func (e *TopicError) Error() string {
	return fmt.Sprintf("exactly: check topic %s: %s", e.Topic, e.Reason)
}

// CallbackError is a failure or panic of a goka callback, or a codec's error.
// It is permanent: the same record would fail again.
type CallbackError struct{ Err error }

func (e *CallbackError) Error() string { return fmt.Sprintf("exactly: run callback: %v", e.Err) }
func (e *CallbackError) Unwrap() error { return e.Err }

// permanentError marks an error that retrying cannot heal.
type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

func permanent(err error) error { return &permanentError{err} }

// Permanent marks an error of a hook as one that retrying cannot heal.
func Permanent(err error) error { return permanent(err) }

// IsPermanent reports whether retrying cannot heal err: wrong configuration,
// missing rights, lost offsets, a locked directory, a failing callback.
func IsPermanent(err error) bool {
	var (
		marked      *permanentError
		outOfRange  *OffsetOutOfRangeError
		missing     *MissingOffsetError
		oversize    *OversizeError
		misrouted   *MisroutedError
		tooSlow     *TooSlowError
		locked      *LockedError
		topic       *TopicError
		callback    *CallbackError
		authority   x509.UnknownAuthorityError
		certificate x509.CertificateInvalidError
		hostname    x509.HostnameError
		verify      *tls.CertificateVerificationError
	)
	for _, target := range []any{&marked, &outOfRange, &missing, &oversize, &misrouted, &tooSlow, &locked, &topic, &callback, &authority, &certificate, &hostname, &verify} {
		if errors.As(err, target) {
			return true
		}
	}
	for _, code := range permanentCodes {
		if errors.Is(err, code) {
			return true
		}
	}
	return false
}

var permanentCodes = []*kerr.Error{
	kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed,
	kerr.ClusterAuthorizationFailed, kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism, kerr.IllegalSaslState,
	kerr.InvalidSessionTimeout, kerr.InvalidTransactionTimeout, kerr.InconsistentGroupProtocol, kerr.GroupMaxSizeReached,
	kerr.InvalidTopicException, kerr.InvalidPartitions, kerr.InvalidReplicationFactor, kerr.InvalidConfig, kerr.PolicyViolation,
	kerr.FencedInstanceID, kerr.OffsetMetadataTooLarge, kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.UnsupportedVersion, kerr.InvalidGroupID,
}

// isFenced reports whether another producer took over the transactional id, or
// the coordinator timed the transaction out (the broker uses the same codes).
func isFenced(err error) bool {
	return errors.Is(err, kerr.ProducerFenced) || errors.Is(err, kerr.InvalidProducerEpoch) ||
		errors.Is(err, kerr.InvalidProducerIDMapping) || errors.Is(err, kerr.UnknownProducerID) || errors.Is(err, kerr.InvalidTxnState)
}
