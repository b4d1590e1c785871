"""The serving parts of both processes: uvicorn with additional limits, the serving certificate, the health port."""
