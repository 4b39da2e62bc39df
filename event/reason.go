package event

import (
	"errors"
	"fmt"
)

// A Reason is why an upload died. The set is closed: analysts group by it and
// every member is a stable name.
type Reason string

// The reasons.
const (
	// ReasonNotProtobuf is a record whose value is no Upload.
	ReasonNotProtobuf Reason = "not_protobuf"
	// ReasonEmptyRecord is a record with a null value.
	ReasonEmptyRecord Reason = "empty_record"
	// ReasonInvalidUpload is an Upload that contradicts the contract: an upload id that is too long, a
	// reference without a hash.
	ReasonInvalidUpload Reason = "invalid_upload"
	// ReasonMissingBody is an Upload with neither bytes nor a reference.
	ReasonMissingBody Reason = "missing_body"
	// ReasonEmptyFile is a photo of no bytes.
	ReasonEmptyFile Reason = "empty_file"
	// ReasonTooManyBytes is a photo with more bytes than any format may have.
	ReasonTooManyBytes Reason = "too_many_bytes"
	// ReasonReferenceNotFound is a reference to nothing.
	ReasonReferenceNotFound Reason = "reference_not_found"
	// ReasonHashMismatch is a reference whose bytes have another SHA-256 or length.
	ReasonHashMismatch Reason = "hash_mismatch"
	// ReasonUnknownFormat is data that no magic number explains.
	ReasonUnknownFormat Reason = "unknown_format"
	// ReasonTooLargeForFormat is a photo of more pixels than the table of limits allows its format.
	ReasonTooLargeForFormat Reason = "too_large_for_format"
	// ReasonBadDimensions is a width or height of zero or below.
	ReasonBadDimensions Reason = "bad_dimensions"
	// ReasonAspectRatio is a photo that is too long and thin to resize.
	ReasonAspectRatio Reason = "aspect_ratio"
	// ReasonTruncated is a photo that ends too early.
	ReasonTruncated Reason = "truncated"
	// ReasonCorrupt is a photo that its decoder refuses.
	ReasonCorrupt Reason = "corrupt"
	// ReasonUnsupportedFeature is a photo of a known format that uses what no decoder here can read.
	ReasonUnsupportedFeature Reason = "unsupported_feature"
	// ReasonDecodeBudget is a photo that took longer to decode than the decode budget.
	ReasonDecodeBudget Reason = "decode_budget"
	// ReasonTooSlow is a photo whose work exceeded a whole transaction, with no budget that ended it before.
	ReasonTooSlow Reason = "too_slow"
	// ReasonDecoderPanic is a photo that made a decoder panic.
	ReasonDecoderPanic Reason = "decoder_panic"
	// ReasonOriginalMissing is a photo whose original was gone from the blob store.
	ReasonOriginalMissing Reason = "original_missing"
	// ReasonRefusedBySink is a fate whose rows ClickHouse refuses, whenever they come: the upload keeps its
	// outcome, its row says no more than that.
	ReasonRefusedBySink Reason = "refused_by_sink"
	// ReasonTooManyWindows is a developed upload that a window does not count, since its key had as many open
	// windows as it may have: the upload keeps its outcome.
	ReasonTooManyWindows Reason = "too_many_windows"
)

// unsupported are the formats that are recognised and not developed; each has
// a reason of its own, which [UnsupportedFormat] names.
var unsupported = []string{"heic", "avif", "svg", "pdf", "jxl", "jp2", "ico", "psd", "raw", "video", "html", "zip", "eps", "pnm", "exr", "hdr", "qoi", "dds", "xcf", "jxr", "icns", "gzip"}

// UnsupportedFormat returns the reason for a recognised format that is not
// developed, such as unsupported_heic; unknown_format for any other name.
func UnsupportedFormat(format string) Reason {
	for _, f := range unsupported {
		if f == format {
			return Reason("unsupported_" + f)
		}
	}
	return ReasonUnknownFormat
}

// Reasons lists the closed set.
func Reasons() []Reason {
	all := []Reason{
		ReasonNotProtobuf, ReasonEmptyRecord, ReasonInvalidUpload, ReasonMissingBody, ReasonEmptyFile, ReasonTooManyBytes,
		ReasonReferenceNotFound, ReasonHashMismatch, ReasonUnknownFormat, ReasonTooLargeForFormat, ReasonBadDimensions,
		ReasonAspectRatio, ReasonTruncated, ReasonCorrupt, ReasonUnsupportedFeature, ReasonDecodeBudget, ReasonTooSlow, ReasonDecoderPanic,
		ReasonOriginalMissing, ReasonRefusedBySink, ReasonTooManyWindows,
	}
	for _, f := range unsupported {
		all = append(all, UnsupportedFormat(f))
	}
	return all
}

// A Refusal is the error of a photo that cannot be developed, however often it
// is tried: its upload ends dead. Any other error of a stage is an operating
// error: the transaction aborts and the record is read again.
type Refusal struct {
	Reason Reason
	Detail string
}

// Refuse makes a refusal.
func Refuse(reason Reason, format string, args ...any) error {
	return &Refusal{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// Error names the reason and the detail.
func (r *Refusal) Error() string { return string(r.Reason) + ": " + r.Detail }

// AsRefusal finds the refusal in err, if there is one.
func AsRefusal(err error) (*Refusal, bool) {
	return errors.AsType[*Refusal](err)
}

// A Stage is a goka processor of the pipeline.
type Stage string

// The stages.
const (
	StageExtract   Stage = "extract"
	StageTransform Stage = "transform"
	StageWindows   Stage = "windows"
	StageLoad      Stage = "load"
)
