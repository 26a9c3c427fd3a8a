"""What the reviews slice plugs in."""

from datacollect.http.feature import Feature

FEATURE = Feature(name="reviews")
