"""Why an image gives no features."""

from __future__ import annotations

#: Why an image is rejected: the word in the table, and what it means.
REASONS: dict[str, str] = {
    "missing": "no such file (a dangling link, or removed since it was listed)",
    "not_a_file": "a folder or device with an image's name",
    "unreadable": "the file can't be read (permission, disk or network error)",
    "empty": "the file holds no bytes",
    "not_an_image": "the content is of no known image format",
    "unsupported": "an image of a kind that can't be read here",
    "truncated": "the image ends too early",
    "corrupt": "the image's data are damaged",
    "too_large": "more pixels or bytes than can be decoded safely",
    "crashed": "reading it ends the process that does",
    "not_finite": "the features came out as NaN or infinite",
}

#: What would mend it.
REMEDIES: dict[str, str] = {
    "missing": "Correct the paths (relative ones count from the list's folder), or bring the images there",
    "not_a_file": "Take these out of the input",
    "unreadable": "Mend their permissions, or the disk or network that they are on",
    "empty": "Copy or download them again",
    "not_an_image": "See what these files are: web pages instead of downloads, or data with an image's name",
    "unsupported": "Convert them to JPEG, or to PNG or TIFF of 8 bits a sample",
    "truncated": "Copy or download them again",
    "corrupt": "Copy or download them again",
    "too_large": "Scale them down",
    "crashed": "Convert it with another program, or take it out of the input",
    "not_finite": "Check the file of the weights",
}

#: Reasons that say nothing of an image: it could not be read at all, perhaps only now.
UNREAD = frozenset({"missing", "unreadable"})


class ImageError(Exception):
    """An image that can't be used: `reason` is a key of REASONS, `detail` says what exactly was seen."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"
