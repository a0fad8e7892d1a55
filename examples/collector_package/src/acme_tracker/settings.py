"""What one tenant configures."""

from pydantic import BaseModel, Field, HttpUrl, SecretStr


class TrackerConfig(BaseModel):
    """The names of the fields are the keys of the env."""

    TRACKER_TOKEN: SecretStr = Field(title="API token", description="Made under Settings → Tokens.", min_length=8)
    TRACKER_URL: HttpUrl = Field(default=HttpUrl("https://api.tracker.example/v1"), title="Address of the API")
